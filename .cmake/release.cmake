# Initial cache: cmake -C .cmake/release.cmake -B build/release
set(CMAKE_BUILD_TYPE "Release" CACHE STRING "")
set(FOVEA_SANITIZE "" CACHE STRING "")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON CACHE BOOL "")
