// Nothing: its target compiles once what every test includes (tests/CMakeLists.txt).
