#include "ops/support/isa.hpp"

#include <xbyak/xbyak_util.h>

namespace outrigger::ops {

Isa machine_isa() {
  static const Isa isa = [] {
    using Xbyak::util::Cpu;
    const Cpu cpu;
    const auto has = [&cpu](auto... features) { return (cpu.has(features) && ...); };
    if (!has(Cpu::tAVX2, Cpu::tBMI2, Cpu::tF16C)) return Isa::none;
    const bool avx512 = has(Cpu::tAVX512F, Cpu::tAVX512BW, Cpu::tAVX512DQ, Cpu::tAVX512VL);
    return avx512 ? Isa::avx512 : Isa::avx2;
  }();
  return isa;
}

}  // namespace outrigger::ops
