#pragma once

/// The ops layer is a shared library, built once per instruction set level; what the layers above
/// call is marked with this.
#define OUTRIGGER_EXPORT __attribute__((visibility("default")))
