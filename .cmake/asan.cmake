# Initial cache: cmake -C .cmake/asan.cmake -B build/asan
set(CMAKE_BUILD_TYPE "RelWithDebInfo" CACHE STRING "")
set(FOVEA_SANITIZE "address,undefined" CACHE STRING "")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON CACHE BOOL "")
# Assertions stay on: a sanitizer run is where they may cost something. -Og compiles in half the time of -O1.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-Og -g1" CACHE STRING "")
