# The patched ComputeLibrary of this package, and the CPU features it was compiled for, as /proc/cpuinfo names them.
set(IntAttn_ComputeLibrary_FOUND TRUE)
set(IntAttn_ComputeLibrary_VERSION "@version@")
set(IntAttn_ComputeLibrary_FEATURES "@requiredFeatures@")

if(NOT TARGET IntAttn::ComputeLibrary)
  get_filename_component(_intattn_prefix ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
  add_library(IntAttn::ComputeLibrary STATIC IMPORTED)
  set_target_properties(IntAttn::ComputeLibrary PROPERTIES
    IMPORTED_LOCATION ${_intattn_prefix}/lib/libarm_compute-static.a
    INTERFACE_COMPILE_FEATURES cxx_std_17
    INTERFACE_INCLUDE_DIRECTORIES ${_intattn_prefix}/include
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS}")
  unset(_intattn_prefix)
endif()
