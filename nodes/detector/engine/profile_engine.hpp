// An engine of many input sizes: one engine of a single size for each that some context runs, all
// over the same weights. Providers know single sizes only.
#pragma once

#include <functional>
#include <memory>

#include "nodes/detector/engine/engine.hpp"

namespace fovea::engine {

// The engine of one size, [height, width, 3]. Errors: kInvalidArgument for one that is not run.
using LoadAtSize = std::function<Result<std::shared_ptr<const Engine>>(const Dims& size)>;

// `opt` is what contexts run until they are told another size. `load` may be called by any thread.
std::shared_ptr<const Engine> make_profile_engine(std::shared_ptr<const Engine> opt,
                                                  LoadAtSize load);

}  // namespace fovea::engine
