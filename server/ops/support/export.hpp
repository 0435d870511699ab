#pragma once

/// Marks the functions that the layers above call: the ops layer is a shared library, with one
/// build for each instruction set level.
#define OUTRIGGER_EXPORT __attribute__((visibility("default")))
