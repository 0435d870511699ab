#include "kernel/native/code_cache.hpp"

#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernel/emit/emit.hpp"
#include "ops/pass/compile/status.hpp"

namespace outrigger::kernel {
namespace {

/// The codes that may be found, by their text.
struct CodeShelf {
  std::unordered_map<std::string_view, std::shared_ptr<ModuleCode>> codes;
};

}  // namespace

ModuleCode::ModuleCode(std::string text, Compiler& compiler, Kept& kept)
    : text_(std::move(text)),
      compiler_(compiler),
      kept_(kept),
      charge_(kept, 2 * text_.capacity()),
      job_(compiler.submit(text_)) {}

std::shared_ptr<ModuleCode> ModuleCode::find(const std::string& text, Compiler& compiler,
                                             Kept& kept) {
  const auto held = kept.lock();
  if (const auto found = kept.shelf<CodeShelf>().codes.find(text);
      found != kept.shelf<CodeShelf>().codes.end()) {
    kept.use(*found->second);
    return found->second;
  }
  if (!kept.make_room(2 * text.size())) return nullptr;
  auto made = std::make_shared<ModuleCode>(text, compiler, kept);
  kept.shelf<CodeShelf>().codes.emplace(made->text_, made);
  kept.use(*made);
  return made;
}

void ModuleCode::evict() noexcept {
  auto& codes = kept_.shelf<CodeShelf>().codes;
  const auto found = codes.find(text_);
  if (found == codes.end() || found->second.get() != this) return;
  // This object may end with it.
  const std::shared_ptr<ModuleCode> self = std::move(found->second);
  codes.erase(found);
}

const void* ModuleCode::entry(const ops::Interrupt& interrupt) {
  if (code_) return code_->entry;
  if (!job_) return nullptr;
  // Calls wait once.
  const auto time = waited_ ? std::chrono::milliseconds(0) : compiler_.wait_time();
  switch (job_->wait(interrupt, time)) {
    case CompilerJob::State::waiting:
      waited_ = true;
      return nullptr;
    case CompilerJob::State::failed:
      job_ = nullptr;
      return nullptr;
    case CompilerJob::State::done:
      break;
  }
  const void* const entry = load_object();
  job_ = nullptr;
  return entry;
}

const void* ModuleCode::load_object() {
  const auto image = read_object(job_->take_object(), entry_name);
  if (!image) {
    compiler_.count_failure("the object is refused: " + image.error());
    return nullptr;
  }
  if (const auto refused = ops::executable_memory_refused(); !refused.empty()) {
    compiler_.count_failure("the system refuses executable memory: " + std::string(refused));
    return nullptr;
  }
  auto code = load(*image, kept_);
  if (code) code_.emplace(std::move(*code));
  if (!code_) {
    compiler_.count_failure("there is no space for its code");
    return nullptr;
  }
  compiler_.count_code();
  return code_->entry;
}

}  // namespace outrigger::kernel
