/** What Node.js looks for in an addon. */
export const entries = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']

/** Whether Node.js has a function of this name for addons. @param {string} name */
export const isNodeApi = (name) => /^(napi|node_api)_/.test(name)
