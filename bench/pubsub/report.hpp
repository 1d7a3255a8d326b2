// The bench's results as a table, as JSON and as a plot.
#pragma once

#include <string>
#include <vector>

#include "bench/pubsub/first_lap.hpp"
#include "bench/pubsub/suites.hpp"

namespace fovea::bench {

// Take percentiles, which reorders the samples.
void print_tables(std::vector<Suite>& suites, const std::vector<FirstLap>& laps);
void print_json(std::vector<Suite>& suites, const std::vector<FirstLap>& laps);

// Median latency until the reader holds the frame over frame size, both logarithmic, one line per
// transport. A complete SVG document.
std::string latency_plot(Suite& suite);

// Nothing torn or out of order, nothing failed, and no lossless transport of ours lost a frame.
bool sound(const std::vector<Suite>& suites);

}  // namespace fovea::bench
