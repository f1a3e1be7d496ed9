#include "masks.h"

#include "arrays.h"

namespace intattn::addon {
namespace {

/// [1 or batch, 1 or heads, 1 or queryLength, keyLength]
template <class T>
PairView<T> pairs_of(Napi::Object object, const char* name, const char* dims_name, napi_typedarray_type type,
                     const std::array<std::size_t, 4>& scores) {
  PairView<T> view;
  const Napi::Value data = object.Get(name);
  if (data.IsUndefined())
    return view;
  const Napi::Env env = object.Env();
  const auto* dims = static_cast<const std::uint32_t*>(data_of(object.Get(dims_name), dims_name, napi_uint32_array, 4));
  std::size_t count = 1;
  for (std::size_t i = 0; i < 4; ++i) {
    if (dims[i] != scores[i] && (i == 3 || dims[i] != 1))
      reject(env, dims_name, "dims that broadcast");
    count = product(env, count, dims[i]);
  }
  view.data = static_cast<const T*>(data_of(data, name, type, count));
  const auto stride = [&](int axis, std::size_t elements) { return dims[axis] == 1 ? 0 : std::ptrdiff_t(elements); };
  view.row_stride = stride(2, dims[3]);
  view.head_stride = stride(1, std::size_t{dims[2]} * dims[3]);
  view.batch_stride = stride(0, std::size_t{dims[1]} * dims[2] * dims[3]);
  return view;
}

} // namespace

Masks masks_of(Napi::Object object, const std::array<std::size_t, 4>& scores) {
  Masks masks;
  if (const auto* starts = static_cast<const std::int32_t*>(
          optional_data_of(object.Get("queryStart"), "queryStart", napi_int32_array, scores[0])))
    masks.query_starts.assign(starts, starts + scores[0]);
  masks.mask = pairs_of<std::uint8_t>(object, "mask", "maskDims", napi_uint8_array, scores);
  masks.bias = pairs_of<float>(object, "bias", "biasDims", napi_float32_array, scores);
  return masks;
}

} // namespace intattn::addon
