#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace outrigger::kernel {

/// LLVM as a library that is loaded at run time, by the process that compiles only. A fault of LLVM
/// ends the process.
class Llvm {
 public:
  /// The path of the library on this machine; empty if there is none. It does not load it.
  static std::string find_library();

  /// Errors: the library cannot be loaded, or has another version than 19.
  static tl::expected<Llvm, std::string> load(const std::string& library);
  ~Llvm();
  Llvm(Llvm&&) noexcept;
  Llvm& operator=(Llvm&&) = delete;

  std::string version() const;  ///< "19.1.7"
  /// Makes an object file of a module's text.
  tl::expected<std::vector<std::uint8_t>, std::string> compile(const std::string& text);

 private:
  struct Library;
  explicit Llvm(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

}  // namespace outrigger::kernel
