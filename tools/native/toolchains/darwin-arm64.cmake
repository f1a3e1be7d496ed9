# Cross-build for macOS arm64 with zig.
set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)
set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "" FORCE) # the target triple says it
include(${CMAKE_CURRENT_LIST_DIR}/zig.cmake)
