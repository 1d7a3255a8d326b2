# Initial cache: cmake -C .cmake/fuzz.cmake -G Ninja -B build/fuzz && ninja -C build/fuzz fuzzers
set(CMAKE_CXX_COMPILER "clang++" CACHE STRING "")
set(CMAKE_BUILD_TYPE "RelWithDebInfo" CACHE STRING "")
set(FOVEA_FUZZ ON CACHE BOOL "")
set(FOVEA_SANITIZE "address,undefined" CACHE STRING "")
set(FOVEA_BUILD_BENCH OFF CACHE BOOL "")
# Every library reports its branches; only the fuzz programs get libFuzzer's main().
set(CMAKE_CXX_FLAGS "-fsanitize=fuzzer-no-link" CACHE STRING "")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1" CACHE STRING "")
