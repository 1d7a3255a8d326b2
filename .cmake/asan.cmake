# Initial cache: cmake -C .cmake/asan.cmake -B build/asan
set(CMAKE_BUILD_TYPE "RelWithDebInfo" CACHE STRING "")
set(FOVEA_SANITIZE "address,undefined" CACHE STRING "")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON CACHE BOOL "")
