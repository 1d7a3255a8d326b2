#include "nodes/detector/engine/cuda/gpu.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include "nodes/base/text.hpp"

namespace fovea::engine::cuda {

namespace {

namespace fs = std::filesystem;

fs::path kernel_folder() {
  if (const char* named = std::getenv(kKernelsVariable); named != nullptr && *named != '\0') {
    return named;
  }
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path() / "../lib/fovea/cuda";
}

}  // namespace

Result<const Gpu*> Gpu::find() {
  struct Found {
    Gpu gpu;
    Result<> result;
    Found() {
      const auto driver = find_driver();
      result = driver ? gpu.open(**driver) : Result<>(tl::unexpected(driver.error()));
    }
  };
  static const Found found;
  if (!found.result) return fail(found.result.error());
  return &found.gpu;
}

Result<> Gpu::open(const Driver& driver) {
  driver_ = &driver;
  CUdevice device = 0;
  FOVEA_TRY(driver.check(driver.device_get(&device, 0), "GPU 0"));
  char name[200] = {};
  FOVEA_TRY(driver.check(driver.device_name(name, sizeof name, device), "name of GPU 0"));
  name_ = name;
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    (void)driver.device_attribute(&value, which, device);
    return value;
  };
  capability_ = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  limits_.multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  limits_.shared_bytes = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  if (capability_ < 80) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("{} is of compute capability {}.{}; 8.0 or later is needed", name_,
                            capability_ / 10, capability_ % 10));
  }
  FOVEA_TRY(driver.check(driver.retain_context(&context_, device), name_));
  FOVEA_TRY(enter());
  return load_kernels(kernel_folder());
}

Result<> Gpu::load_kernels(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".fatbin") files.push_back(entry->path());
  }
  if (files.empty()) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("no CUDA kernels (*.fatbin) in {}; {} names another folder",
                            shown(folder.string(), 200), kKernelsVariable));
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
    if (bytes.size() < 16) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: it holds no kernels", shown(file.string(), 200)));
    }
    CUmodule module = nullptr;
    auto loaded =
        driver_->check(driver_->load_module(&module, bytes.data()), shown(file.string(), 200));
    if (!loaded) return fail(loaded.error().with_context(identity()));
    modules_.push_back(module);
  }
  return {};
}

std::string Gpu::identity() const {
  int version = 0;
  (void)driver_->driver_version(&version);
  return fmt::format("{} sm_{} {} SM driver {}.{}", name_, capability_, limits_.multiprocessors,
                     version / 1000, version % 1000 / 10);
}

Result<> Gpu::enter() const { return driver_->check(driver_->set_context(context_), name_); }

Result<CUfunction> Gpu::kernel(const std::string& name, std::uint32_t shared_bytes) const {
  CUfunction function = nullptr;
  for (const CUmodule module : modules_) {
    if (driver_->find_function(&function, module, name.c_str()) == CUDA_SUCCESS) break;
    function = nullptr;
  }
  if (function == nullptr)
    return fail(ErrorCode::kUnsupported, fmt::format("no CUDA kernel {}", name));
  if (shared_bytes > 0) {
    FOVEA_TRY(driver_->check(
        driver_->function_set(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                              static_cast<int>(shared_bytes)),
        name));
  }
  // A split of the cache that changes from kernel to kernel drains the multiprocessor in between.
  FOVEA_TRY(driver_->check(
      driver_->function_set(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 100),
      name));
  return function;
}

Result<DeviceMemory> DeviceMemory::make(const Gpu& gpu, std::size_t bytes) {
  FOVEA_TRY(gpu.enter());
  DeviceMemory memory;
  const auto result =
      gpu.driver().check(gpu.driver().allocate(&memory.address_, std::max<std::size_t>(bytes, 1)),
                         fmt::format("{} MB on {}", (bytes + 999'999) / 1'000'000, gpu.name()));
  if (!result) {
    std::size_t free = 0;
    std::size_t all = 0;
    (void)gpu.driver().memory_info(&free, &all);
    return fail(result.error().code, fmt::format("{}; {} of {} MB are free", result.error().message,
                                                 free / 1'000'000, all / 1'000'000));
  }
  memory.gpu_ = &gpu;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (address_ == 0) return;
  (void)gpu_->enter();
  (void)gpu_->driver().free(address_);
}

}  // namespace fovea::engine::cuda
