#include "kernel/native/child.hpp"

int main(int argc, char** argv) { return outrigger::kernel::run_compiler(argc, argv); }
