# Initial cache: cmake -C .cmake/tsan.cmake -B build/tsan
set(CMAKE_BUILD_TYPE "RelWithDebInfo" CACHE STRING "")
set(FOVEA_SANITIZE "thread" CACHE STRING "")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON CACHE BOOL "")
# Assertions stay on: a sanitizer run is where they may cost something.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1" CACHE STRING "")
