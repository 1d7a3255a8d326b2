// OpenCV's DNN module in f32.
#include <opencv2/core.hpp>
#include <opencv2/dnn.hpp>

#include "bench/engine/contestant.hpp"

namespace fovea::bench {
namespace {

class OpencvContestant final : public Contestant {
 public:
  // Throws cv::Exception for what OpenCV refuses.
  static Result<std::unique_ptr<Contestant>> make(const Task& task) {
    cv::setNumThreads(task.threads);
    auto contestant = std::make_unique<OpencvContestant>();
    contestant->network_ = cv::dnn::readNetFromONNX(task.model);
    contestant->network_.setPreferableBackend(cv::dnn::DNN_BACKEND_OPENCV);
    contestant->network_.setPreferableTarget(cv::dnn::DNN_TARGET_CPU);
    contestant->names_ = contestant->network_.getUnconnectedOutLayersNames();
    auto values = planes(task.height, task.width);
    const std::vector<int> dims = {1, 3, static_cast<int>(task.height),
                                   static_cast<int>(task.width)};
    contestant->network_.setInput(cv::Mat(dims, CV_32F, values.data()).clone());
    return contestant;
  }

  Result<> run() override {
    network_.forward(outputs_, names_);
    return {};
  }

  double magnitude() const override {
    double sum = 0;
    std::size_t count = 0;
    for (const cv::Mat& output : outputs_) {
      sum += magnitude_of({output.ptr<float>(), output.total()});
      count += output.total();
    }
    return sum / static_cast<double>(count);
  }

 private:
  cv::dnn::Net network_;
  std::vector<cv::String> names_;
  std::vector<cv::Mat> outputs_;
};

}  // namespace
}  // namespace fovea::bench

int main(int argc, char** argv) {
  return fovea::bench::serve(argc, argv, fovea::bench::OpencvContestant::make);
}
