# zig as the compiler, for the target that INTATTN_ZIG_TARGET names; INTATTN_ZIG is the program.
# zig starts CMake's checks anew with this file: what it was told must reach them too.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES INTATTN_ZIG INTATTN_ZIG_TARGET)
set(CMAKE_C_COMPILER ${INTATTN_ZIG} cc -target ${INTATTN_ZIG_TARGET})
set(CMAKE_CXX_COMPILER ${INTATTN_ZIG} c++ -target ${INTATTN_ZIG_TARGET})
execute_process(COMMAND ${INTATTN_ZIG} c++ -dumpversion OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
foreach(language C CXX)
  unset(ENV{CMAKE_${language}_COMPILER_LAUNCHER}) # ccache and its like know no compiler of two words
  # To find out what compiler this is CMake links a program, for which zig compiles all of its C++ library: more than a minute.
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
  set(CMAKE_${language}_COMPILER_ID Clang)
  set(CMAKE_${language}_COMPILER_VERSION ${version})
  set(CMAKE_${language}_COMPILER_FRONTEND_VARIANT GNU)
  set(CMAKE_${language}_PLATFORM_ID ${CMAKE_SYSTEM_NAME})
  set(CMAKE_${language}_STANDARD_COMPUTED_DEFAULT 17)
  set(CMAKE_${language}_EXTENSIONS_COMPUTED_DEFAULT ON)
  # zig adds debug information, and checks for undefined behaviour, where nothing else is said.
  set(CMAKE_${language}_FLAGS_INIT "-g0 -fno-sanitize=undefined")
  set(CMAKE_${language}_ARCHIVE_CREATE "\"${INTATTN_ZIG}\" ar qc <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "\"${INTATTN_ZIG}\" ranlib <TARGET>")
endforeach()
# zig names CPUs and features its own way and knows no -march.
set(INTATTN_DOTPROD_FLAGS -mcpu=generic+v8_2a+dotprod CACHE STRING "")
set(INTATTN_I8MM_FLAGS -mcpu=generic+v8_2a+dotprod+i8mm CACHE STRING "")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
