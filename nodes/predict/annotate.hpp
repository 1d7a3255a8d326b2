// What was found, drawn into its picture: one function for each kind of mark.
//
// Thread safety: one thread at a time.
#pragma once

#include "nodes/detector/accuracy/detection_pipeline.hpp"
#include "nodes/predict/prediction.hpp"

namespace fovea::predict {

// REQUIRES: `prediction` is of `picture`.
void annotate(Picture& picture, const Prediction& prediction);

}  // namespace fovea::predict
