#include "nodes/detector/engine/onnxruntime/session.hpp"

#include <optional>
#include <utility>

#include <fmt/core.h>

#include "nodes/base/text.hpp"
#include "nodes/detector/engine/onnx/element_type.hpp"
#include "nodes/detector/engine/onnxruntime/onnxruntime_engine.hpp"

namespace fovea::engine::onnxruntime {

namespace {

class Options {
 public:
  explicit Options(const Library& library) : library_(library) {}
  ~Options() {
    if (options_ != nullptr) library_.api.release_session_options(options_);
  }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  Result<> prepare(BackEnd back_end, std::int32_t threads) {
    const Api& api = library_.api;
    FOVEA_TRY(check(library_, api.create_session_options(&options_), "options"));
    FOVEA_TRY(check(library_, api.set_optimization_level(options_, kAll), "options"));
    FOVEA_TRY(check(library_, api.set_threads(options_, threads), "threads"));
    FOVEA_TRY(check(library_, api.set_parallel_nodes(options_, 1), "threads"));
    return append(back_end);
  }
  const SessionOptions* get() const { return options_; }

 private:
  Result<> append(BackEnd back_end) {
    const Api& api = library_.api;
    const std::string_view name = name_of(back_end);
    switch (back_end) {
      case BackEnd::kCpu:
        return {};
      case BackEnd::kCuda: {
        CudaOptions* cuda = nullptr;
        FOVEA_TRY(check(library_, api.create_cuda_options(&cuda), name));
        Status* status = api.append_cuda(options_, cuda);
        api.release_cuda_options(cuda);
        return check(library_, status, name);
      }
      case BackEnd::kTensorRt: {
        TensorRtOptions* tensorrt = nullptr;
        FOVEA_TRY(check(library_, api.create_tensorrt_options(&tensorrt), name));
        Status* status = api.append_tensorrt(options_, tensorrt);
        api.release_tensorrt_options(tensorrt);
        return check(library_, status, name);
      }
      case BackEnd::kOpenVino:
        return check(library_, api.append_openvino(options_, nullptr, nullptr, 0), name);
    }
    return {};
  }

  const Library& library_;
  SessionOptions* options_ = nullptr;
};

// Extents and type of what ONNX Runtime allocated.
Result<TensorSpec> spec_of(const Library& library, const TensorValue* value) {
  const Api& api = library.api;
  TensorShape* shape = nullptr;
  FOVEA_TRY(check(library, api.tensor_shape(value, &shape), "an output's shape"));
  const auto read = [&]() -> Result<TensorSpec> {
    TensorSpec spec;
    int type = 0;
    std::size_t rank = 0;
    FOVEA_TRY(check(library, api.shape_type(shape, &type), "an output's type"));
    FOVEA_TRY(check(library, api.shape_rank(shape, &rank), "an output's shape"));
    spec.dims.resize(rank);
    FOVEA_TRY(check(library, api.shape_dims(shape, spec.dims.data(), rank), "an output's shape"));
    const auto dtype = type_of_onnx(type);
    if (!dtype) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("an output has ONNX's element type {}; it must be a number", type));
    }
    spec.dtype = *dtype;
    spec.bytes = static_cast<std::size_t>(volume(spec.dims)) * element_size(spec.dtype);
    return spec;
  };
  auto spec = read();
  api.release_shape(shape);
  return spec;
}

}  // namespace

class Values {
 public:
  explicit Values(const Library& library) : library_(library) {}
  ~Values() {
    for (TensorValue* value : values_) {
      if (value != nullptr) library_.api.release_tensor(value);
    }
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

  // ONNX Runtime wants a pointer it may write through, also to an input, which it only reads.
  Result<> add(const MemoryInfo* memory, const void* data, const TensorSpec& spec) {
    Dims dims = spec.dims;
    dims.insert(dims.begin(), 1);
    TensorValue* value = nullptr;
    FOVEA_TRY(
        check(library_,
              library_.api.create_tensor(memory, const_cast<void*>(data), spec.bytes, dims.data(),
                                         dims.size(), onnx_type(spec.dtype), &value),
              spec.name));
    values_.push_back(value);
    return {};
  }
  void add_empty(std::size_t count) { values_.resize(values_.size() + count, nullptr); }
  TensorValue** data() { return values_.data(); }

 private:
  const Library& library_;
  std::vector<TensorValue*> values_;
};

OrtOutputs::OrtOutputs(std::unique_ptr<Values> values) : values_(std::move(values)) {}
OrtOutputs::OrtOutputs(OrtOutputs&&) noexcept = default;
OrtOutputs& OrtOutputs::operator=(OrtOutputs&&) noexcept = default;
OrtOutputs::~OrtOutputs() = default;

std::string_view name_of(BackEnd back_end) {
  switch (back_end) {
    case BackEnd::kCpu:
      return "CPUExecutionProvider";
    case BackEnd::kCuda:
      return "CUDAExecutionProvider";
    case BackEnd::kTensorRt:
      return "TensorrtExecutionProvider";
    case BackEnd::kOpenVino:
      return "OpenVINOExecutionProvider";
  }
  return "unknown";
}

Result<std::unique_ptr<const OrtSession>> OrtSession::create(const Library& library,
                                                             BackEnd back_end,
                                                             std::span<const std::byte> model,
                                                             std::int32_t threads) {
  Options options(library);
  FOVEA_TRY(options.prepare(back_end, threads));
  Session* made = nullptr;
  FOVEA_TRY(check(library,
                  library.api.create_session(library.environment, model.data(), model.size(),
                                             options.get(), &made),
                  "the model"));
  return adopt(library, made);
}

Result<std::unique_ptr<const OrtSession>> OrtSession::open(const Library& library, BackEnd back_end,
                                                           const std::filesystem::path& file,
                                                           std::int32_t threads) {
  Options options(library);
  FOVEA_TRY(options.prepare(back_end, threads));
  Session* made = nullptr;
  FOVEA_TRY(check(library,
                  library.api.open_session(library.environment, file.c_str(), options.get(), &made),
                  shown(file.string())));
  return adopt(library, made);
}

Result<std::unique_ptr<const OrtSession>> OrtSession::adopt(const Library& library,
                                                            Session* session) {
  auto adopted = std::unique_ptr<OrtSession>(new OrtSession(library, session));
  FOVEA_TRY(adopted->prepare());
  return adopted;
}

OrtSession::~OrtSession() {
  if (memory_ != nullptr) library_.api.release_memory_info(memory_);
  library_.api.release_session(session_);
}

Result<> OrtSession::prepare() {
  const Api& api = library_.api;
  Allocator* allocator = nullptr;
  FOVEA_TRY(check(library_, api.default_allocator(&allocator), "names"));
  const auto take = [&](Status* status, char* name, std::string& to) -> Result<> {
    FOVEA_TRY(check(library_, status, "names"));
    to = name;
    return check(library_, api.free(allocator, name), "names");
  };
  std::size_t count = 0;
  FOVEA_TRY(check(library_, api.input_count(session_, &count), "inputs"));
  if (count != 1) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the model has {} inputs; it must have one, a picture", count));
  }
  char* name = nullptr;
  Status* status = api.input_name(session_, 0, allocator, &name);
  FOVEA_TRY(take(status, name, input_name_));
  FOVEA_TRY(check(library_, api.output_count(session_, &count), "outputs"));
  output_texts_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    status = api.output_name(session_, i, allocator, &name);
    FOVEA_TRY(take(status, name, output_texts_[i]));
  }
  for (const std::string& text : output_texts_) output_names_.push_back(text.c_str());
  return check(library_, api.create_cpu_memory_info(kDeviceAllocator, kDefaultMemory, &memory_),
               "memory");
}

Result<> OrtSession::run(Values& input, Values& outputs) const {
  const char* input_name = input_name_.c_str();
  return check(library_,
               library_.api.run(session_, nullptr, &input_name, input.data(), 1,
                                output_names_.data(), output_names_.size(), outputs.data()),
               "a run");
}

Result<> OrtSession::run(const ConstMemoryView& input, const TensorSpec& input_spec,
                         std::span<const MemoryView> outputs,
                         std::span<const TensorSpec> specs) const {
  Values in(library_);
  Values out(library_);
  FOVEA_TRY(in.add(memory_, input.data, input_spec));
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    FOVEA_TRY(out.add(memory_, outputs[i].data, specs[i]));
  }
  return run(in, out);
}

Result<OrtOutputs> OrtSession::run(const ConstMemoryView& input,
                                   const TensorSpec& input_spec) const {
  Values in(library_);
  FOVEA_TRY(in.add(memory_, input.data, input_spec));
  OrtOutputs result(std::make_unique<Values>(library_));
  Values& out = *result.values_;
  out.add_empty(outputs());
  FOVEA_TRY(run(in, out));
  for (std::size_t i = 0; i < outputs(); ++i) {
    FOVEA_ASSIGN(TensorSpec spec, spec_of(library_, out.data()[i]));
    spec.name = output_texts_[i];
    void* data = nullptr;
    FOVEA_TRY(check(library_, library_.api.tensor_data(out.data()[i], &data), spec.name));
    result.tensors_.push_back({std::move(spec), data});
  }
  return result;
}

Result<std::vector<TensorSpec>> OrtSession::shapes(const TensorSpec& input) const {
  const std::vector<std::byte> grey(input.bytes, std::byte{114});
  auto ran = run({grey.data(), grey.size()}, input);
  if (!ran) return fail(ran.error().with_context("a grey picture"));
  std::vector<TensorSpec> specs;
  for (const OrtOutput& output : ran->tensors()) specs.push_back(output.spec);
  return specs;
}

}  // namespace fovea::engine::onnxruntime
