# fovea_test_in_one_process(NAME LABEL): all tests of NAME, made by fovea_test() in this folder, are one
# ctest. For programs whose libraries (OpenCV, FFmpeg) take longer to load than most of their tests to
# run: a process each was a fifth of a second each. `NAME --gtest_filter=...` runs some of them.
function(fovea_test_in_one_process name label)
  get_property(includes DIRECTORY PROPERTY TEST_INCLUDE_FILES)
  list(FILTER includes EXCLUDE REGEX "/${name}\\[")
  set_property(DIRECTORY PROPERTY TEST_INCLUDE_FILES "${includes}")
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()
