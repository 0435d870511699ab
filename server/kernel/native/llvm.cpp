#include "kernel/native/llvm.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <utility>

namespace outrigger::kernel {
namespace {

// The functions of LLVM's stable C interface, declared here: no header of LLVM is needed.
using Opaque = void*;
using Bool = int;

constexpr unsigned tested_major = 19;
constexpr int return_status = 2;  // LLVMReturnStatusAction
constexpr int aggressive = 3;     // LLVMCodeGenLevelAggressive
constexpr int relocation_pic = 2;
constexpr int default_model = 0;
constexpr int object_file = 1;

}  // namespace

struct Llvm::Library {
  Opaque handle = nullptr;
  Opaque machine = nullptr;
  std::string triple = {};

  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  /// The library itself stays loaded.
  ~Library() {
    if (machine != nullptr) dispose_machine(machine);
  }

  void (*get_version)(unsigned*, unsigned*, unsigned*) = nullptr;
  void (*parse_options)(int, const char* const*, const char*) = nullptr;
  void (*initialize_info)() = nullptr;
  void (*initialize_target)() = nullptr;
  void (*initialize_code)() = nullptr;
  void (*initialize_printer)() = nullptr;
  char* (*default_triple)() = nullptr;
  char* (*host_name)() = nullptr;
  char* (*host_features)() = nullptr;
  Bool (*target_of)(const char*, Opaque*, char**) = nullptr;
  Opaque (*create_machine)(Opaque, const char*, const char*, const char*, int, int, int) = nullptr;
  void (*dispose_machine)(Opaque) = nullptr;
  Opaque (*create_layout)(Opaque) = nullptr;
  void (*dispose_layout)(Opaque) = nullptr;
  void (*set_layout)(Opaque, Opaque) = nullptr;
  void (*set_triple)(Opaque, const char*) = nullptr;
  Opaque (*create_context)() = nullptr;
  void (*dispose_context)(Opaque) = nullptr;
  Opaque (*create_buffer)(const char*, std::size_t, const char*) = nullptr;
  Bool (*parse_text)(Opaque, Opaque, Opaque*, char**) = nullptr;
  Bool (*verify)(Opaque, int, char**) = nullptr;
  void (*dispose_module)(Opaque) = nullptr;
  Opaque (*create_pass_options)() = nullptr;
  void (*dispose_pass_options)(Opaque) = nullptr;
  void (*set_loop_vectors)(Opaque, Bool) = nullptr;
  void (*set_slp_vectors)(Opaque, Bool) = nullptr;
  Opaque (*run_passes)(Opaque, const char*, Opaque, Opaque) = nullptr;
  char* (*error_message)(Opaque) = nullptr;
  void (*dispose_error)(char*) = nullptr;
  Bool (*emit)(Opaque, Opaque, int, char**, Opaque*) = nullptr;
  const char* (*buffer_start)(Opaque) = nullptr;
  std::size_t (*buffer_size)(Opaque) = nullptr;
  void (*dispose_buffer)(Opaque) = nullptr;
  void (*dispose_message)(char*) = nullptr;

  template <typename T>
  void find(const char* name, T& to) {
    to = reinterpret_cast<T>(::dlsym(handle, name));
    if (to == nullptr && missing.empty()) missing = name;
  }
  std::string missing = {};

  void find_all() {
    find("LLVMGetVersion", get_version);
    find("LLVMParseCommandLineOptions", parse_options);
    find("LLVMInitializeX86TargetInfo", initialize_info);
    find("LLVMInitializeX86Target", initialize_target);
    find("LLVMInitializeX86TargetMC", initialize_code);
    find("LLVMInitializeX86AsmPrinter", initialize_printer);
    find("LLVMGetDefaultTargetTriple", default_triple);
    find("LLVMGetHostCPUName", host_name);
    find("LLVMGetHostCPUFeatures", host_features);
    find("LLVMGetTargetFromTriple", target_of);
    find("LLVMCreateTargetMachine", create_machine);
    find("LLVMDisposeTargetMachine", dispose_machine);
    find("LLVMCreateTargetDataLayout", create_layout);
    find("LLVMDisposeTargetData", dispose_layout);
    find("LLVMSetModuleDataLayout", set_layout);
    find("LLVMSetTarget", set_triple);
    find("LLVMContextCreate", create_context);
    find("LLVMContextDispose", dispose_context);
    find("LLVMCreateMemoryBufferWithMemoryRangeCopy", create_buffer);
    find("LLVMParseIRInContext", parse_text);
    find("LLVMVerifyModule", verify);
    find("LLVMDisposeModule", dispose_module);
    find("LLVMCreatePassBuilderOptions", create_pass_options);
    find("LLVMDisposePassBuilderOptions", dispose_pass_options);
    find("LLVMPassBuilderOptionsSetLoopVectorization", set_loop_vectors);
    find("LLVMPassBuilderOptionsSetSLPVectorization", set_slp_vectors);
    find("LLVMRunPasses", run_passes);
    find("LLVMGetErrorMessage", error_message);
    find("LLVMDisposeErrorMessage", dispose_error);
    find("LLVMTargetMachineEmitToMemoryBuffer", emit);
    find("LLVMGetBufferStart", buffer_start);
    find("LLVMGetBufferSize", buffer_size);
    find("LLVMDisposeMemoryBuffer", dispose_buffer);
    find("LLVMDisposeMessage", dispose_message);
  }

  /// A text of LLVM as one of ours.
  std::string taken(char* text) const {
    if (text == nullptr) return "no reason is given";
    std::string copy(text);
    dispose_message(text);
    return copy;
  }

  /// The target: this machine. Returns a problem, or nothing.
  std::string choose_target() {
    initialize_info();
    initialize_target();
    initialize_code();
    initialize_printer();
    // Without it, the time of a short loop depends on the address where it happens to lie.
    const std::array<const char*, 2> options{"kernel-compiler",
                                             "-x86-experimental-pref-innermost-loop-alignment=6"};
    parse_options(static_cast<int>(options.size()), options.data(), nullptr);
    triple = taken(default_triple());
    Opaque target = nullptr;
    char* problem = nullptr;
    if (target_of(triple.c_str(), &target, &problem) != 0) return taken(problem);
    const std::string name = taken(host_name());
    const std::string features = taken(host_features());
    machine = create_machine(target, triple.c_str(), name.c_str(), features.c_str(), aggressive,
                             relocation_pic, default_model);
    return machine == nullptr ? "LLVM does not know this machine" : "";
  }
};

Llvm::Llvm(std::unique_ptr<Library> library) : library_(std::move(library)) {}
Llvm::Llvm(Llvm&&) noexcept = default;
Llvm::~Llvm() = default;

std::string Llvm::find_library() {
#if defined(__x86_64__)
  for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/usr/lib/llvm-19/lib", "/usr/lib64",
                             "/usr/lib", "/usr/local/lib"}) {
    for (const char* name : {"libLLVM.so.19.1", "libLLVM-19.so.1"}) {
      std::string path = std::string(folder).append("/").append(name);
      if (::access(path.c_str(), R_OK) == 0) return path;
    }
  }
#endif
  return {};
}

tl::expected<Llvm, std::string> Llvm::load(const std::string& library) {
  auto loaded = std::make_unique<Library>();
  loaded->handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded->handle == nullptr) return tl::make_unexpected(std::string(::dlerror()));
  loaded->find_all();
  if (!loaded->missing.empty())
    return tl::make_unexpected(library + " has no function " + loaded->missing);
  Llvm llvm(std::move(loaded));
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
  llvm.library_->get_version(&major, &minor, &patch);
  if (major != tested_major)
    return tl::make_unexpected(library + " is LLVM " + llvm.version() + ", not 19");
  if (std::string problem = llvm.library_->choose_target(); !problem.empty())
    return tl::make_unexpected(std::move(problem));
  return llvm;
}

std::string Llvm::version() const {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
  library_->get_version(&major, &minor, &patch);
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

tl::expected<std::vector<std::uint8_t>, std::string> Llvm::compile(const std::string& text) {
  const Library& llvm = *library_;
  struct Context {
    const Library& llvm;
    Opaque context = llvm.create_context();
    Opaque module = nullptr;
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    explicit Context(const Library& library) : llvm(library) {}
    ~Context() {
      if (module != nullptr) llvm.dispose_module(module);
      llvm.dispose_context(context);
    }
  } own(llvm);
  char* problem = nullptr;
  // The parse takes the buffer.
  const Opaque buffer = llvm.create_buffer(text.data(), text.size(), "kernel");
  if (llvm.parse_text(own.context, buffer, &own.module, &problem) != 0) {
    own.module = nullptr;
    return tl::make_unexpected("the text is refused: " + llvm.taken(problem));
  }
  llvm.set_triple(own.module, llvm.triple.c_str());
  const Opaque layout = llvm.create_layout(llvm.machine);
  llvm.set_layout(own.module, layout);
  llvm.dispose_layout(layout);
  if (llvm.verify(own.module, return_status, &problem) != 0)
    return tl::make_unexpected("the module is refused: " + llvm.taken(problem));
  if (problem != nullptr) llvm.dispose_message(std::exchange(problem, nullptr));
  const Opaque options = llvm.create_pass_options();
  llvm.set_loop_vectors(options, 1);
  llvm.set_slp_vectors(options, 1);
  const Opaque failed = llvm.run_passes(own.module, "default<O3>", llvm.machine, options);
  llvm.dispose_pass_options(options);
  if (failed != nullptr) {
    char* message = llvm.error_message(failed);
    std::string copy(message);
    llvm.dispose_error(message);
    return tl::make_unexpected(std::move(copy));
  }
  Opaque object = nullptr;
  if (llvm.emit(llvm.machine, own.module, object_file, &problem, &object) != 0)
    return tl::make_unexpected(llvm.taken(problem));
  const auto* const begin = reinterpret_cast<const std::uint8_t*>(llvm.buffer_start(object));
  std::vector<std::uint8_t> bytes(begin, begin + llvm.buffer_size(object));
  llvm.dispose_buffer(object);
  return bytes;
}

}  // namespace outrigger::kernel
