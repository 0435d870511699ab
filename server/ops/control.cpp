#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_control(std::vector<OpRow>& rows) {
  rows.push_back(
      OpRow{.name = "while",
            .family = "control",
            .kind = Kind::control,
            .operands = {{"initial", true}},
            .regions = {"condition", "body"},
            .doc = "Repeats a region. `condition` takes the loop's values and returns one scalar. "
                   "While this scalar is not zero, `body` takes the values and returns the next "
                   "ones, with the same dtypes and shapes. Updates in the body work in place: the "
                   "cost of a `put_slice` is that of the slice, not of the tensor."});
  rows.push_back(OpRow{
      .name = "cond",
      .family = "control",
      .kind = Kind::control,
      .operands = {{"pred"}},
      .regions = {"on_true", "on_false"},
      .doc = "Runs one of two regions without parameters: the first one if the scalar is not zero, "
             "otherwise the second. Both return values of the same dtypes and shapes."});
  rows.push_back(OpRow{
      .name = "call",
      .family = "control",
      .kind = Kind::control,
      .operands = {{"args", true}},
      .attrs = {{.name = "program_id",
                 .type = AttrType::integer,
                 .required = true,
                 .doc = "the id of a program that was prepared before this one"}},
      .doc = "Runs a prepared program, as if its instructions were here: they are fused with the "
             "instructions around the call. The operands are the program's arguments, and the "
             "results are its outputs. If the program writes a parameter in place, the call writes "
             "the operand. The program is bound when the calling program is prepared or run: a "
             "later replacement or removal of the called program has no effect."});
  rows.push_back(OpRow{
      .name = "kernel",
      .family = "control",
      .kind = Kind::control,
      .operands = {{"args", true}},
      .attrs = {{.name = "kernel_id",
                 .type = AttrType::integer,
                 .required = true,
                 .doc = "the id of a kernel that was defined before this program"}},
      .cost = Cost::unbounded,
      .doc = "Runs a kernel. The operands are its arguments, without those of `new` parameters: "
             "numbers, and tensors of exactly the dtypes and ranks of the parameters. The results "
             "are the declared ones, then the `new` tensors, then the new value of each `mut` "
             "operand. With `in_place`, the kernel writes the `mut` operands themselves, and they "
             "are no results. The kernel is bound when the program is prepared or run: a later "
             "replacement or removal has no effect."});
}

}  // namespace outrigger::ops
