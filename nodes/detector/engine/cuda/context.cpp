#include "nodes/detector/engine/cuda/context.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "nodes/detector/engine/cuda/layout.hpp"
#include "nodes/detector/engine/provider.hpp"

namespace fovea::engine::cuda {

namespace {

constexpr int kProgrammaticCapability = 90;  // kernels that start before their predecessor ends

CUdeviceptr device_address(const void* data) { return reinterpret_cast<CUdeviceptr>(data); }

}  // namespace

Result<LoadedProgram> load_program(const Gpu& gpu, Program program) {
  const Driver& driver = gpu.driver();
  FOVEA_TRY(gpu.enter());
  LoadedProgram loaded;
  loaded.gpu = &gpu;
  for (const Launch& launch : program.launches) {
    auto& functions = loaded.functions.emplace_back();
    for (const Choice& choice : launch.choices) {
      FOVEA_ASSIGN(functions.emplace_back(), gpu.kernel(choice.kernel, choice.shared_bytes));
    }
  }
  FOVEA_ASSIGN(loaded.constants, DeviceMemory::make(gpu, program.constants.size()));
  FOVEA_TRY(
      driver.check(driver.copy(loaded.constants.address(), device_address(program.constants.data()),
                               program.constants.size(), nullptr),
                   "copying weights"));
  FOVEA_TRY(driver.check(driver.wait_stream(nullptr), "copying weights"));
  program.constants = {};
  loaded.program = std::move(program);
  return loaded;
}

Result<std::unique_ptr<GpuContext>> GpuContext::create(const LoadedProgram& program,
                                                       const EngineInfo& info) {
  auto context = std::unique_ptr<GpuContext>(new GpuContext(program, info));
  FOVEA_TRY(context->prepare());
  return context;
}

GpuContext::~GpuContext() {
  if (!program_.gpu->enter()) return;
  if (stream_ != nullptr) (void)driver_.wait_stream(stream_);
  for (const CUgraphExec graph : graphs_) {
    if (graph != nullptr) (void)driver_.destroy_executable(graph);
  }
  if (done_ != nullptr) (void)driver_.destroy_event(done_);
  if (stream_ != nullptr) (void)driver_.destroy_stream(stream_);
}

std::size_t GpuContext::bytes(const LoadedProgram& program, const EngineInfo& info) {
  std::size_t item = info.input.bytes;
  for (const TensorSpec& output : info.outputs) item += output.bytes;
  return make_schedule(program.program, info.max_batch).arena_bytes +
         item * static_cast<std::size_t>(info.max_batch);
}

Result<> GpuContext::prepare() {
  const Gpu& gpu = *program_.gpu;
  const auto images = static_cast<std::size_t>(info_.max_batch);
  schedule_ = make_schedule(program_.program, info_.max_batch);
  FOVEA_ASSIGN(arena_, DeviceMemory::make(gpu, schedule_.arena_bytes));
  FOVEA_ASSIGN(input_, DeviceMemory::make(gpu, info_.input.bytes * images));
  for (const TensorSpec& output : info_.outputs) {
    FOVEA_ASSIGN(DeviceMemory memory, DeviceMemory::make(gpu, output.bytes * images));
    outputs_.push_back(std::move(memory));
  }
  FOVEA_TRY(driver_.check(driver_.create_stream(&stream_, CU_STREAM_NON_BLOCKING), "a stream"));
  FOVEA_TRY(driver_.check(driver_.create_event(&done_, CU_EVENT_DISABLE_TIMING), "an event"));
  for (const Launch& launch : program_.program.launches) {
    auto& choices = arguments_.emplace_back();
    for (const Choice& choice : launch.choices) choices.push_back(bind(launch, choice));
  }
  graphs_.resize(images, nullptr);
  FOVEA_TRY(build_graph(1));
  return build_graph(images);
}

CUdeviceptr GpuContext::resolve(const Address& address) const {
  const auto index = static_cast<std::size_t>(address.index);
  const auto offset = static_cast<CUdeviceptr>(address.offset);
  switch (address.space) {
    case Address::Space::kArena:
      return arena_.address() + schedule_.offsets[index] + offset;
    case Address::Space::kInput:
      return input_.address() + offset;
    case Address::Space::kOutput:
      return outputs_[index].address() + offset;
    case Address::Space::kConstants:
      break;
  }
  return program_.constants.address() + offset;
}

std::vector<std::byte> GpuContext::bind(const Launch& launch, const Choice& choice) const {
  std::vector<std::byte> arguments = choice.arguments;
  for (const Launch::Pointer& pointer : launch.pointers) {
    const CUdeviceptr address = resolve(pointer.address);
    std::memcpy(arguments.data() + pointer.at, &address, sizeof address);
  }
  return arguments;
}

void GpuContext::refresh(std::size_t launch) {
  const Launch& changed = program_.program.launches[launch];
  arguments_[launch].clear();
  for (const Choice& choice : changed.choices) arguments_[launch].push_back(bind(changed, choice));
  for (CUgraphExec& graph : graphs_) {
    if (graph != nullptr) (void)driver_.destroy_executable(std::exchange(graph, nullptr));
  }
}

CUgraphNodeParams GpuContext::node(const Launch& launch, const Choice& choice, CUfunction function,
                                   std::size_t images, void** parameters) const {
  CUgraphNodeParams node{};
  node.type = CU_GRAPH_NODE_TYPE_KERNEL;
  node.kernel.func = function;
  node.kernel.gridDimX = choice.grid[0];
  node.kernel.gridDimY = choice.grid[1];
  node.kernel.gridDimZ = launch.z * static_cast<unsigned>(images);
  node.kernel.blockDimX = choice.threads;
  node.kernel.blockDimY = node.kernel.blockDimZ = 1;
  node.kernel.sharedMemBytes = choice.shared_bytes;
  node.kernel.kernelParams = parameters;
  return node;
}

Result<> GpuContext::launch_alone(const Launch& launch, const Choice& choice, CUfunction function,
                                  std::size_t images, std::vector<std::byte>& arguments) const {
  CUlaunchConfig config{};
  config.gridDimX = choice.grid[0];
  config.gridDimY = choice.grid[1];
  config.gridDimZ = launch.z * static_cast<unsigned>(images);
  config.blockDimX = choice.threads;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = choice.shared_bytes;
  config.hStream = stream_;
  void* parameters[] = {arguments.data()};
  return driver_.check(driver_.launch(&config, function, parameters, nullptr),
                       fmt::format("layer '{}', kernel {}", launch.layer, choice.kernel));
}

Result<> GpuContext::add(CUgraph graph, const CUgraphNodeParams& node,
                         std::span<const CUgraphNode> before, CUgraphNode& added,
                         const std::string& layer) const {
  CUgraphEdgeData edge{};
  if (program_.gpu->capability() >= kProgrammaticCapability) {
    edge.from_port = CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC;
    edge.type = CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC;
  }
  const std::vector<CUgraphEdgeData> edges(before.size(), edge);
  CUgraphNodeParams copy = node;
  return driver_.check(
      driver_.add_node(&added, graph, before.data(), edges.data(), before.size(), &copy),
      fmt::format("layer '{}'", layer));
}

Result<> GpuContext::build_graph(std::size_t images) {
  CUgraphExec& executable = graphs_[images - 1];
  if (executable != nullptr) return {};
  CUgraph graph = nullptr;
  FOVEA_TRY(driver_.check(driver_.create_graph(&graph, 0), "a graph"));
  const auto build = [&]() -> Result<> {
    std::vector<CUgraphNode> nodes;
    for (std::size_t i = 0; i < program_.program.launches.size(); ++i) {
      const Launch& launch = program_.program.launches[i];
      const std::size_t chosen = launch.choice(static_cast<std::int64_t>(images));
      void* parameters[] = {arguments_[i][chosen].data()};
      std::vector<CUgraphNode> before;
      for (const std::uint32_t k : schedule_.dependencies[i]) before.push_back(nodes[k]);
      FOVEA_TRY(add(
          graph,
          node(launch, launch.choices[chosen], program_.functions[i][chosen], images, parameters),
          before, nodes.emplace_back(), launch.layer));
    }
    FOVEA_TRY(driver_.check(driver_.instantiate(&executable, graph, 0), "a graph"));
    return driver_.check(driver_.upload_graph(executable, stream_), "a graph");
  };
  auto built = build();
  (void)driver_.destroy_graph(graph);
  return built;
}

Result<std::vector<std::byte>> GpuContext::try_convolution(std::size_t launch, const Choice& choice,
                                                           CUfunction function) {
  FOVEA_TRY(program_.gpu->enter());
  std::vector<std::byte> bound = bind(program_.program.launches[launch], choice);
  ConvolutionArguments a{};
  std::memcpy(&a, bound.data(), sizeof a);
  const auto bytes = [](std::int64_t pixels, std::int64_t pixel, std::int64_t channels,
                        Scalar scalar) {
    return static_cast<std::size_t>((pixels - 1) * pixel + channels * size_of(scalar));
  };
  // Half floats of -2..2, in lanes of other tensors, too.
  std::uint32_t state = 12345;
  const auto fill = [&](const void* to, std::size_t count) -> Result<> {
    std::vector<std::uint16_t> numbers((count + 1) / 2);
    for (std::uint16_t& number : numbers) {
      state = state * 1664525U + 1013904223U;
      number =
          static_cast<std::uint16_t>((state >> 16 & 0x83FFU) | (0x3800U + (state >> 8 & 0x400U)));
    }
    return copy(device_address(to), device_address(numbers.data()), count, "tuning");
  };
  const std::int64_t in_pixels = std::int64_t{a.height} * a.width;
  const std::int64_t out_pixels = std::int64_t{a.out_height} * a.out_width;
  FOVEA_TRY(fill(a.x, bytes(in_pixels, a.x_pixel, a.channels, a.x_scalar)));
  if (a.residual != nullptr) {
    FOVEA_TRY(
        fill(a.residual, bytes(out_pixels, a.residual_pixel, a.out_channels, a.residual_scalar)));
  }
  std::vector<std::byte> result(bytes(out_pixels, a.y_pixel, a.out_channels, a.y_scalar));
  const std::size_t lanes = static_cast<std::size_t>(a.out_channels * size_of(a.y_scalar));
  const auto each_pixel = [&](const auto& visit) {
    for (std::int64_t i = 0; i < out_pixels; ++i) visit(result.begin() + i * a.y_pixel);
  };
  const auto lanes_end = static_cast<std::ptrdiff_t>(lanes);
  FOVEA_TRY(copy(device_address(result.data()), device_address(a.y), result.size(), "tuning"));
  FOVEA_TRY(driver_.check(driver_.wait_stream(stream_), "tuning"));
  each_pixel([&](auto pixel) { std::fill(pixel, pixel + lanes_end, std::byte{0xFF}); });
  FOVEA_TRY(copy(device_address(a.y), device_address(result.data()), result.size(), "tuning"));
  FOVEA_TRY(launch_alone(program_.program.launches[launch], choice, function, 1, bound));
  FOVEA_TRY(copy(device_address(result.data()), device_address(a.y), result.size(), "tuning"));
  FOVEA_TRY(driver_.check(driver_.wait_stream(stream_), choice.kernel));
  std::vector<std::byte> own;
  each_pixel([&](auto pixel) { own.insert(own.end(), pixel, pixel + lanes_end); });
  return own;
}

Result<std::chrono::nanoseconds> GpuContext::time_choice(std::size_t launch, const Choice& choice,
                                                         CUfunction function, std::size_t images) {
  FOVEA_TRY(program_.gpu->enter());
  const std::size_t chain = images <= 2 ? 16 : 6;
  std::vector<std::byte> bound = bind(program_.program.launches[launch], choice);
  CUgraph graph = nullptr;
  CUgraphExec executable = nullptr;
  FOVEA_TRY(driver_.check(driver_.create_graph(&graph, 0), "a graph"));
  const auto measure = [&]() -> Result<std::chrono::nanoseconds> {
    void* parameters[] = {bound.data()};
    CUgraphNode last = nullptr;
    for (std::size_t i = 0; i < chain; ++i) {
      const CUgraphNode before = last;
      FOVEA_TRY(add(graph,
                    node(program_.program.launches[launch], choice, function, images, parameters),
                    std::span(&before, i == 0 ? 0 : 1), last, choice.kernel));
    }
    FOVEA_TRY(driver_.check(driver_.instantiate(&executable, graph, 0), "a graph"));
    FOVEA_ASSIGN(const auto whole, time_graph(executable, 5));
    return whole / chain;
  };
  auto measured = measure();
  if (executable != nullptr) (void)driver_.destroy_executable(executable);
  (void)driver_.destroy_graph(graph);
  return measured;
}

Result<> GpuContext::copy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                          const char* what) const {
  return driver_.check(driver_.copy(to, from, bytes, stream_), what);
}

Result<Fence> GpuContext::enqueue(std::span<const BatchItem> batch) {
  FOVEA_TRY(check_batch(batch, info_, TakesDeviceMemory::kYes));
  FOVEA_TRY(program_.gpu->enter());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    FOVEA_TRY(copy(input_.address() + i * info_.input.bytes, device_address(batch[i].input.data),
                   info_.input.bytes, "copying a picture"));
  }
  if (times_.empty()) {
    FOVEA_TRY(build_graph(batch.size()));
    FOVEA_TRY(driver_.check(driver_.launch_graph(graphs_[batch.size() - 1], stream_), "a batch"));
  } else {
    FOVEA_TRY(run_and_time(batch.size()));
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      const std::size_t bytes = info_.outputs[k].bytes;
      FOVEA_TRY(copy(device_address(batch[i].outputs[k].data), outputs_[k].address() + i * bytes,
                     bytes, "copying a result"));
    }
  }
  FOVEA_TRY(driver_.check(driver_.record_event(done_, stream_), "a batch"));
  return Fence([](void* context) { return static_cast<GpuContext*>(context)->wait(); }, this);
}

Result<> GpuContext::wait() {
  FOVEA_TRY(program_.gpu->enter());
  return driver_.check(driver_.wait_event(done_), "a batch");
}

bool GpuContext::record_layer_times(std::span<std::chrono::nanoseconds> times) {
  if (!times.empty() && times.size() != program_.program.launches.size()) return false;
  times_ = times;
  return true;
}

Result<std::chrono::nanoseconds> GpuContext::time_batches(std::size_t images,
                                                          std::size_t repetitions) {
  FOVEA_TRY(program_.gpu->enter());
  FOVEA_TRY(build_graph(images));
  return time_graph(graphs_[images - 1], repetitions);
}

Result<std::chrono::nanoseconds> GpuContext::time_graph(CUgraphExec graph,
                                                        std::size_t repetitions) {
  CUevent ends[2] = {};
  std::vector<float> times;
  const auto run = [&]() -> Result<> {
    for (CUevent& event : ends) {
      FOVEA_TRY(driver_.check(driver_.create_event(&event, CU_EVENT_DEFAULT), "an event"));
    }
    for (std::size_t i = 0; i < repetitions; ++i) {
      FOVEA_TRY(driver_.check(driver_.record_event(ends[0], stream_), "an event"));
      FOVEA_TRY(driver_.check(driver_.launch_graph(graph, stream_), "a batch"));
      FOVEA_TRY(driver_.check(driver_.record_event(ends[1], stream_), "an event"));
      FOVEA_TRY(driver_.check(driver_.wait_event(ends[1]), "a batch"));
      FOVEA_TRY(
          driver_.check(driver_.elapsed(&times.emplace_back(), ends[0], ends[1]), "an event"));
    }
    return {};
  };
  auto ran = run();
  for (const CUevent event : ends) {
    if (event != nullptr) (void)driver_.destroy_event(event);
  }
  if (!ran) return fail(ran.error());
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return std::chrono::nanoseconds(std::llround(static_cast<double>(*middle) * 1e6));
}

// One launch after the other, an event between two.
Result<> GpuContext::run_and_time(std::size_t images) {
  const auto& launches = program_.program.launches;
  std::vector<CUevent> events(launches.size() + 1, nullptr);
  const auto run = [&]() -> Result<> {
    for (CUevent& event : events) {
      FOVEA_TRY(driver_.check(driver_.create_event(&event, CU_EVENT_DEFAULT), "an event"));
    }
    FOVEA_TRY(driver_.check(driver_.record_event(events[0], stream_), "an event"));
    for (std::size_t i = 0; i < launches.size(); ++i) {
      const std::size_t chosen = launches[i].choice(static_cast<std::int64_t>(images));
      FOVEA_TRY(launch_alone(launches[i], launches[i].choices[chosen],
                             program_.functions[i][chosen], images, arguments_[i][chosen]));
      FOVEA_TRY(driver_.check(driver_.record_event(events[i + 1], stream_), "an event"));
    }
    FOVEA_TRY(driver_.check(driver_.wait_stream(stream_), "a batch"));
    for (std::size_t i = 0; i < launches.size(); ++i) {
      float ms = 0;
      FOVEA_TRY(driver_.check(driver_.elapsed(&ms, events[i], events[i + 1]), "an event"));
      times_[i] += std::chrono::nanoseconds(std::llround(static_cast<double>(ms) * 1e6));
    }
    return {};
  };
  auto ran = run();
  for (const CUevent event : events) {
    if (event != nullptr) (void)driver_.destroy_event(event);
  }
  return ran;
}

}  // namespace fovea::engine::cuda
