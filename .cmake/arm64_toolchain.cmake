# Debian's cross compiler against Debian's arm64 libraries, which lie beside the system in a folder of
# their own; programs run under qemu's user mode emulation, as the CPU that QEMU_CPU names.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
get_filename_component(CMAKE_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../build/arm64_sysroot" ABSOLUTE)
if(NOT EXISTS "${CMAKE_SYSROOT}/packages")
  message(FATAL_ERROR "${CMAKE_SYSROOT} has no arm64 libraries; run: launch/dependencies.sh arm64")
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR}
  "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig")
# BLAS and LAPACK lie in folders of their own, and the linker looks for what libraries need, too.
string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT
  "-Wl,-rpath-link,${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu")
find_program(FOVEA_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(FOVEA_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${FOVEA_QEMU};-L;${CMAKE_SYSROOT}")
endif()
