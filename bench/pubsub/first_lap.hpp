// What the first lap through a pool costs, when its pages might not be there yet.
#pragma once

#include <cstddef>
#include <string>

namespace fovea::bench {

struct FirstLap {
  std::string error;
  std::size_t slot_bytes = 0;
  int slots = 0;
  double create_ms = 0, open_ms = 0;  // BufferPool::create, PoolReader::open
  double first_write_ms = 0,
         later_write_ms = 0;  // a slot, the slowest of the first lap; the median of later ones
  double first_read_ms = 0, later_read_ms = 0;  // a byte per page
  long first_lap_faults = 0;                    // of pages, writer and reader
};

FirstLap measure_first_lap(std::size_t slot_bytes, int slots);

}  // namespace fovea::bench
