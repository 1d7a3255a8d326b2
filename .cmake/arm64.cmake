# Initial cache: cmake -C .cmake/arm64.cmake -B build/arm64, after `launch/dependencies.sh arm64`.
# An ARM64 build on another machine; on ARM64 itself nothing of this is needed (.cmake/release.cmake).
set(CMAKE_BUILD_TYPE "Release" CACHE STRING "")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON CACHE BOOL "")
set(CMAKE_TOOLCHAIN_FILE "${CMAKE_CURRENT_LIST_DIR}/arm64_toolchain.cmake" CACHE FILEPATH "")
set(FOVEA_BUILD_BENCH OFF CACHE BOOL "")
# What `launch/dependencies.sh arm64` leaves out and `arm64-full` has.
set(pictures OFF)
if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/../build/arm64_sysroot/usr/include/opencv4")
  set(pictures ON)
endif()
set(FOVEA_PICTURES ${pictures} CACHE BOOL "" FORCE)
# The build that finds an include which precompiled headers hid.
set(FOVEA_PRECOMPILED OFF CACHE BOOL "")
