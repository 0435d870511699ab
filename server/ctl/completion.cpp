#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "ctl/commands.hpp"

namespace outrigger::ctl {

namespace {

std::string long_options(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out += " --" + name;
  }
  return out;
}

/// A function of Bash for the words of the command line, from the options as they are declared.
std::string bash(const CLI::App& app) {
  std::string commands;
  std::string cases;
  for (const CLI::App* command : app.get_subcommands({})) {
    commands += (commands.empty() ? "" : " ") + command->get_name();
    cases += "    " + command->get_name() + ") words+=\"" + long_options(*command) + "\" ;;\n";
  }
  std::string pattern = commands;
  for (char& c : pattern) {
    if (c == ' ') c = '|';
  }
  return "_outriggerctl() {\n"
         "  local word command=\"\" words=\"" +
         long_options(app).substr(1) +
         "\"\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    case $word in " +
         pattern +
         ") command=$word ;; esac\n"
         "  done\n"
         "  case $command in\n"
         "    \"\") words+=\" " +
         commands + "\" ;;\n" + cases +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "}\n"
         "complete -o default -F _outriggerctl outriggerctl\n";
}

}  // namespace

void add_completion(CLI::App& app) {
  static std::string shell;
  CLI::App* command =
      app.add_subcommand("completion",
                         "Print a script with which a shell completes the words of outriggerctl:\n"
                         "source <(outriggerctl completion bash)");
  command->add_option("shell", shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([&app] {
    if (shell == "zsh") std::puts("autoload -U +X bashcompinit && bashcompinit");
    std::fputs(bash(app).c_str(), stdout);
    // It needs no server.
    throw CLI::Success();
  });
}

}  // namespace outrigger::ctl
