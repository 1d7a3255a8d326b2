#include "nodes/detector/engine/cpu/native/fallback.hpp"

#include <cstring>
#include <optional>
#include <utility>

#include "nodes/detector/engine/cpu/program/reference_operation.hpp"

namespace fovea::engine::cpu::native {

namespace {

class PlanarCopy final : public kernels::Kernel {
 public:
  PlanarCopy(const Value& value, bool picture, const kernels::Surface& from)
      : dims_(value.dims),
        bytes_(static_cast<std::size_t>(volume(value.dims)) * element_size(value.dtype)),
        picture_(picture),
        from_(from) {}

  std::string_view implementation() const override { return picture_ ? "to planar" : "copy"; }
  std::size_t scratch_bytes(int /*threads*/) const override { return 0; }
  void run(const kernels::Arguments& arguments, ThreadPool& /*pool*/) const override {
    if (picture_) {
      copy_to_planar(dims_, from_, arguments.sources[0],
                     static_cast<float*>(arguments.destinations[0]));
    } else {
      std::memcpy(arguments.destinations[0], arguments.sources[0], bytes_);
    }
  }

 private:
  Dims dims_;
  std::size_t bytes_;
  bool picture_;
  kernels::Surface from_;
};

}  // namespace

Result<std::unique_ptr<const OperationFactory>> make_fallback(const NetworkDefinition& network,
                                                              const Layer& layer,
                                                              const KnownValues& known,
                                                              Storage& storage) {
  const auto link = [&](ValueId id) {
    const Value& value = network.value(id);
    ReferenceLink result{known[static_cast<std::size_t>(id)], value.dtype, value.dims, {}};
    if (!result.known && storage.is_picture(id)) result.picture = storage.home(id).surface;
    return result;
  };
  std::vector<std::optional<ReferenceLink>> inputs;
  for (const ValueId id : layer.inputs) {
    inputs.push_back(id == kNoValue ? std::nullopt : std::optional<ReferenceLink>(link(id)));
  }
  if (layer.residual != kNoValue) inputs.emplace_back(link(layer.residual));
  std::vector<ReferenceLink> outputs;
  for (const ValueId id : layer.outputs) {
    outputs.push_back(link(id));
    outputs.back().known = nullptr;
  }
  return make_reference_operation(layer, std::move(inputs), std::move(outputs));
}

std::unique_ptr<const kernels::Kernel> make_planar_copy(const Value& value, bool picture,
                                                        const kernels::Surface& from) {
  return std::make_unique<PlanarCopy>(value, picture, from);
}

}  // namespace fovea::engine::cpu::native
