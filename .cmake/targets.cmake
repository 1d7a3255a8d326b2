# Helpers shared by every folder: one place for warnings, sanitizers and the include root.

add_library(fovea_warnings INTERFACE)
target_include_directories(fovea_warnings INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(fovea_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  # g++ 12 reports overlapping copies inside std::string concatenation that cannot happen.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Elsewhere compilers fuse products and sums by default, and results would differ from x86-64's.
  $<$<NOT:$<BOOL:${FOVEA_X86}>>:-ffp-contract=off>
  $<$<BOOL:${FOVEA_WERROR}>:-Werror>)

add_library(fovea_options INTERFACE)
target_link_libraries(fovea_options INTERFACE fovea_warnings)
# In precompiled headers g++ 12 takes the standard library's code for ours, and warns of what cannot happen.
set(precompiled_options
  $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread>)
# Tests' own code is hardly optimised and not checked for undefined behaviour, which is looked for in
# what they test: they compile in half the time.
add_library(fovea_test_options INTERFACE)
target_link_libraries(fovea_test_options INTERFACE fovea_warnings)
target_include_directories(fovea_test_options INTERFACE "${CMAKE_BINARY_DIR}/generated")
target_compile_options(fovea_test_options INTERFACE ${precompiled_options})
if(FOVEA_SANITIZE)
  set(sanitizer_options -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_compile_options(fovea_options INTERFACE -fsanitize=${FOVEA_SANITIZE} ${sanitizer_options})
  target_link_options(fovea_options INTERFACE -fsanitize=${FOVEA_SANITIZE})
  string(REPLACE ",undefined" "" memory_or_thread "${FOVEA_SANITIZE}")
  target_compile_options(fovea_test_options INTERFACE -O0 -fsanitize=${memory_or_thread} ${sanitizer_options})
  target_link_options(fovea_test_options INTERFACE -fsanitize=${FOVEA_SANITIZE})
else()
  target_compile_options(fovea_test_options INTERFACE -O1)
endif()

# Which options of the compiler do with how little optimisation where no frame passes through.
set(fovea_cold_options $<$<CONFIG:Release>:-O1>$<$<CONFIG:RelWithDebInfo>:-Og>)

# What most sources include, compiled once (a third of what they cost). Cold sources have their own: the compiler
# takes its measure for inlining from what it precompiled. A source still includes what it uses, and builds
# without them (FOVEA_PRECOMPILED=OFF), too.
option(FOVEA_PRECOMPILED "Precompile what most sources include" ON)
find_package(fmt REQUIRED GLOBAL)
find_package(nlohmann_json REQUIRED GLOBAL)
foreach(name IN ITEMS fovea_precompiled fovea_precompiled_cold)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/precompiled.cpp")
  target_link_libraries(${name} PRIVATE fovea_options fmt::fmt nlohmann_json::nlohmann_json)
  target_compile_options(${name} PRIVATE ${precompiled_options})
  target_precompile_headers(${name} PRIVATE
    <algorithm> <array> <atomic> <chrono> <cmath> <cstring> <filesystem> <functional> <map> <memory> <mutex>
    <optional> <span> <string> <string_view> <thread> <unordered_map> <utility> <variant> <vector>
    <fmt/format.h> <fmt/ranges.h> <tl/expected.hpp>)
endforeach()
target_compile_options(fovea_precompiled_cold PRIVATE ${fovea_cold_options})
target_precompile_headers(fovea_precompiled_cold PRIVATE <nlohmann/json.hpp>)

# fovea_cold_sources(a.cpp ...): sources that no frame passes through, ahead of the target that has them. Command
# lines, JSON and readers of files are most of the time that a build takes, and half of it when they are
# optimised less.
function(fovea_cold_sources)
  foreach(source IN LISTS ARGN)
    get_source_file_property(target "${source}" FOVEA_TARGET)
    if(target)
      message(FATAL_ERROR "fovea_cold_sources(${source}) must stand ahead of ${target}, which has it already")
    endif()
  endforeach()
  set_source_files_properties(${ARGN} PROPERTIES FOVEA_COLD ON)
endfunction()

function(fovea_precompile target from)
  if(FOVEA_PRECOMPILED)
    target_compile_options(${target} PRIVATE ${precompiled_options})
    target_precompile_headers(${target} REUSE_FROM ${from})
  endif()
endfunction()

# Gives `target` its sources, the cold ones by way of an object library.
function(fovea_add_sources target)
  set(cold)
  set_source_files_properties(${ARGN} PROPERTIES FOVEA_TARGET ${target})
  foreach(source IN LISTS ARGN)
    get_source_file_property(is_cold "${source}" FOVEA_COLD)
    if(is_cold)
      list(APPEND cold "${source}")
    else()
      target_sources(${target} PRIVATE "${source}")
    endif()
  endforeach()
  target_link_libraries(${target} PRIVATE fovea_options)
  fovea_precompile(${target} fovea_precompiled)
  if(cold)
    add_library(${target}_cold OBJECT ${cold})
    target_link_libraries(${target}_cold PRIVATE fovea_options $<TARGET_PROPERTY:${target},LINK_LIBRARIES>)
    target_compile_definitions(${target}_cold PRIVATE $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
    target_compile_options(${target}_cold PRIVATE ${fovea_cold_options})
    fovea_precompile(${target}_cold fovea_precompiled_cold)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_cold>)
  endif()
endfunction()

# fovea_library(NAME SOURCES a.cpp ... [PUBLIC lib ...] [PRIVATE lib ...]) makes target fovea_NAME with
# the alias fovea::NAME. Third-party libraries belong under PRIVATE.
function(fovea_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(fovea_${name} STATIC)
  add_library(fovea::${name} ALIAS fovea_${name})
  target_link_libraries(fovea_${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
  target_include_directories(fovea_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  fovea_add_sources(fovea_${name} ${ARG_SOURCES})
endfunction()

# fovea_bench(NAME SOURCES a.cpp ... LIBS lib ...) makes bin/NAME.
function(fovea_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE fovea_options ${ARG_LIBS})
endfunction()

# fovea_executable(NAME SOURCES a.cpp ... LIBS lib ...) makes bin/NAME and installs it.
function(fovea_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  target_compile_options(${name} PRIVATE -fPIC)  # as the precompiled headers are
  fovea_add_sources(${name} ${ARG_SOURCES})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# fovea_test(NAME LABEL unit|system|crash SOURCES a.cpp ... LIBS lib ...): one GoogleTest executable;
# every TEST in it becomes a ctest of its own. Target unit_tests builds what `ctest -L unit` runs, and
# sanitized builds have no other tests.
add_custom_target(unit_tests)
function(fovea_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;LIBS;ENVIRONMENT" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(FOVEA_SANITIZE OR CMAKE_CROSSCOMPILING)  # slower by an emulator
    math(EXPR ARG_TIMEOUT "3 * ${ARG_TIMEOUT}")
  endif()
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  target_link_libraries(${name} PRIVATE fovea_test_options ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  # Where a test's options differ, the compiler reads the headers themselves.
  target_precompile_headers(${name} REUSE_FROM fovea_test_precompiled)
  set_target_properties(${name} PROPERTIES PCH_WARN_INVALID OFF)
  if(FOVEA_SANITIZE AND NOT ARG_LABEL STREQUAL unit)
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL TRUE)
    return()
  endif()
  if(ARG_LABEL STREQUAL unit)
    add_dependencies(unit_tests ${name})
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
endfunction()
