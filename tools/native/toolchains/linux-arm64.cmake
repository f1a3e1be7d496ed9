# Cross-build for arm64 Linux with clang and Debian's cross glibc (libstdc++-12-dev-arm64-cross and later).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

# The scripts pass the compiler that they have tried; without that, the first of these is taken.
find_program(INTATTN_CLANGXX NAMES clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++ REQUIRED)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES INTATTN_CLANGXX)
string(REPLACE "clang++" "clang" INTATTN_CLANG ${INTATTN_CLANGXX})
set(CMAKE_C_COMPILER ${INTATTN_CLANG})
set(CMAKE_CXX_COMPILER ${INTATTN_CLANGXX})
set(CMAKE_C_COMPILER_TARGET aarch64-linux-gnu)
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
foreach(kind EXE SHARED MODULE)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT -fuse-ld=lld)
endforeach()

set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
find_program(INTATTN_QEMU NAMES qemu-aarch64)
if(INTATTN_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${INTATTN_QEMU};-L;/usr/aarch64-linux-gnu) # QEMU_CPU says which CPU
endif()
