# Engine `acl`: knows ComputeLibrary, not Node. Needs the target intattn_kernels.
#   add_compute_library_engine(NAME PREFIX): a static library with the engine, for the ComputeLibrary with the patches of this
#   repository at PREFIX, as tools/acl builds it.
function(add_compute_library_engine name prefix)
  set(archive ${prefix}/lib/libarm_compute-static.a)
  if(NOT EXISTS ${archive})
    message(FATAL_ERROR "Engine acl: expected a prefix with lib/libarm_compute-static.a, received '${prefix}'")
  endif()
  set(here ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  add_library(${name} STATIC
    ${here}/attention.cc
    ${here}/float_sequence.cc
    ${here}/float_values.cc
    ${here}/operators.cc
    ${here}/quantized_operands.cc
    ${here}/quantized_sequence.cc
    ${here}/rows.cc
    ${here}/threads.cc
    ${here}/weighted_values.cc)
  target_compile_features(${name} PUBLIC cxx_std_17)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_include_directories(${name} PUBLIC ${here}/../..)
  # The engine drives the kernels' conversions and quantization, as the native engine does.
  target_include_directories(${name} PRIVATE ${here}/../../../../kernels/src)
  target_include_directories(${name} SYSTEM PRIVATE ${prefix}/include)
  # Products and sums round separately, as in the kernels. ComputeLibrary's messages name its headers, not where they stand here.
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wshadow -ffp-contract=off -ffile-prefix-map=${prefix}/include/=
    $<$<CXX_COMPILER_ID:Clang,AppleClang>:-Werror=exit-time-destructors>)
  target_link_libraries(${name} PUBLIC intattn_kernels PRIVATE ${archive})
endfunction()
