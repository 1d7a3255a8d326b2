#include "nodes/predict/skeleton.hpp"

namespace fovea::predict {

namespace {

enum Person : std::size_t {
  kNose,
  kLeftEye,
  kRightEye,
  kLeftEar,
  kRightEar,
  kLeftShoulder,
  kRightShoulder,
  kLeftElbow,
  kRightElbow,
  kLeftWrist,
  kRightWrist,
  kLeftHip,
  kRightHip,
  kLeftKnee,
  kRightKnee,
  kLeftAnkle,
  kRightAnkle,
  kPersonPoints
};

using enum BodyPart;

constexpr std::array<Limb, 16> kPersonLimbs{{{kNose, kLeftEye, kHead},
                                             {kNose, kRightEye, kHead},
                                             {kLeftEye, kLeftEar, kHead},
                                             {kRightEye, kRightEar, kHead},
                                             {kLeftShoulder, kRightShoulder, kTrunk},
                                             {kLeftShoulder, kLeftHip, kTrunk},
                                             {kRightShoulder, kRightHip, kTrunk},
                                             {kLeftHip, kRightHip, kTrunk},
                                             {kLeftShoulder, kLeftElbow, kLeftArm},
                                             {kLeftElbow, kLeftWrist, kLeftArm},
                                             {kRightShoulder, kRightElbow, kRightArm},
                                             {kRightElbow, kRightWrist, kRightArm},
                                             {kLeftHip, kLeftKnee, kLeftLeg},
                                             {kLeftKnee, kLeftAnkle, kLeftLeg},
                                             {kRightHip, kRightKnee, kRightLeg},
                                             {kRightKnee, kRightAnkle, kRightLeg}}};

constexpr std::array<BodyPart, kPersonPoints> kPersonParts{
    kHead,    kHead,     kHead,    kHead,     kHead,    kLeftArm,  kRightArm, kLeftArm, kRightArm,
    kLeftArm, kRightArm, kLeftLeg, kRightLeg, kLeftLeg, kRightLeg, kLeftLeg,  kRightLeg};

}  // namespace

Skeleton skeleton_of(std::size_t points) {
  if (points != kPersonPoints) return {};
  return {kPersonLimbs, kPersonParts};
}

}  // namespace fovea::predict
