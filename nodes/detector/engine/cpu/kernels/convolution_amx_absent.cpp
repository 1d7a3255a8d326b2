// In place of convolution_amx.cpp on architectures that have no AMX.
#include "nodes/detector/engine/cpu/kernels/convolution_parts.hpp"

namespace fovea::engine::kernels {

std::string AmxTactic::name() const { return "amx"; }

std::vector<AmxTactic> amx_tactics(const ConvolutionSpec& /*spec*/, const CpuFeatures& /*features*/,
                                   std::string& /*declined*/) {
  return {};
}

std::unique_ptr<const Kernel> make_amx_convolution(const ConvolutionSpec& /*spec*/,
                                                   const AmxTactic& /*tactic*/,
                                                   const CpuFeatures& /*features*/) {
  return nullptr;  // never asked for: amx_tactics() lists none
}

}  // namespace fovea::engine::kernels
