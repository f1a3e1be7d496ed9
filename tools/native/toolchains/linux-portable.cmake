# Linux, of either architecture, with an older glibc than this machine's: by zig, whose own C++ library goes inside.
set(CMAKE_SYSTEM_NAME Linux)
if(INTATTN_ZIG_TARGET MATCHES "^([^-]+)-")
  set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_MATCH_1})
endif()
include(${CMAKE_CURRENT_LIST_DIR}/zig.cmake)
