// write_seeds FOLDER: the made seeds of every target, FOLDER/<target>/made<n>.
#include <filesystem>
#include <fstream>

#include "tests/fuzz/targets.hpp"

int main(int argc, char** argv) {
  fovea::fuzz::require(argc == 2, "usage: write_seeds FOLDER");
  for (const auto& target : fovea::fuzz::all_targets()) {
    const auto folder = std::filesystem::path(argv[1]) / target.name;
    std::filesystem::create_directories(folder);
    std::size_t number = 0;
    for (const std::string& seed : fovea::fuzz::make_seeds(target.name)) {
      std::ofstream(folder / ("made" + std::to_string(number++)), std::ios::binary) << seed;
    }
  }
}
