#include "nodes/postprocess/result_topic.hpp"

#include <utility>

namespace fovea {

namespace {

template <class M>
class TopicOf final : public ResultTopic {
 public:
  using Fill = void (Postprocessor::*)(M&) const;

  static Result<std::unique_ptr<ResultTopic>> create(const Domain& domain, const std::string& topic,
                                                     Reliability reliability, Fill fill) {
    FOVEA_ASSIGN(auto publisher, Publisher<M>::create(domain, topic, {.reliability = reliability}));
    return std::make_unique<TopicOf>(topic, std::move(publisher), fill);
  }

  TopicOf(std::string name, Publisher<M> publisher, Fill fill)
      : name_(std::move(name)), publisher_(std::move(publisher)), fill_(fill) {}

  const std::string& name() const override { return name_; }

  void publish(const Postprocessor& found, const msgs::Header& header) override {
    message_->header = header;
    (found.*fill_)(*message_);
    publisher_.publish(*message_);
  }

 private:
  std::string name_;
  Publisher<M> publisher_;
  Fill fill_;
  std::unique_ptr<M> message_ = std::make_unique<M>();  // some are large
};

}  // namespace

Result<std::unique_ptr<ResultTopic>> ResultTopic::create(const Domain& domain,
                                                         const std::string& camera, Task task,
                                                         Reliability reliability) {
  const auto make = [&]<class M>(const char* name, void (Postprocessor::*fill)(M&) const) {
    return TopicOf<M>::create(domain, camera + "/" + name, reliability, fill);
  };
  switch (task) {
    case Task::kSegment:
      return make("masks", &Postprocessor::masks);
    case Task::kPose:
      return make("keypoints", &Postprocessor::keypoints);
    case Task::kObb:
      return make("oriented_boxes", &Postprocessor::oriented_boxes);
    case Task::kClassify:
      return make("classification", &Postprocessor::classification);
    case Task::kSemantic:
      return make("semantic_map", &Postprocessor::semantic_map);
    case Task::kDepth:
      return make("depth", &Postprocessor::depth);
    default:
      break;
  }
  return nullptr;
}

}  // namespace fovea
