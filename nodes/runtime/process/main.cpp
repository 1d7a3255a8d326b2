// main() of every node executable; the executable's own sources define make_node().
#include "nodes/base/terminal.hpp"
#include "nodes/runtime/executor.hpp"
#include "nodes/runtime/process/node.hpp"

int main(int argc, char** argv) {
  fovea::prepare_process();
  fovea::Executor::block_signals();  // before make_node(): it may start threads
  return fovea::run_node(fovea::make_node(), argc, argv);
}
