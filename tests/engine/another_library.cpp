// A shared library that is no ONNX Runtime.
extern "C" int nothing_to_see();
int nothing_to_see() { return 0; }
