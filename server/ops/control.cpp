#include "ops/catalogue.hpp"

namespace outrigger::ops {

void register_control(std::vector<OpRow>& rows) {
  rows.push_back(OpRow{.name = "while",
                       .family = "control",
                       .kind = Kind::control,
                       .operands = {{"initial", true}},
                       .regions = {"condition", "body"},
                       .doc = "Carries values through a loop. `condition` takes them and gives one "
                              "scalar; while it is not zero, `body` takes them and gives the "
                              "next ones, of the same dtypes and shapes. Updates in the body work "
                              "in place: a `put_slice` costs the slice, not the tensor."});
  rows.push_back(
      OpRow{.name = "cond",
            .family = "control",
            .kind = Kind::control,
            .operands = {{"pred"}},
            .regions = {"on_true", "on_false"},
            .doc = "Carries out one of two regions without parameters, by a scalar that is or is "
                   "not zero. Both give values of the same dtypes and shapes."});
  rows.push_back(OpRow{
      .name = "call",
      .family = "control",
      .kind = Kind::control,
      .operands = {{"args", true}},
      .attrs = {{.name = "program_id",
                 .type = AttrType::integer,
                 .required = true,
                 .doc = "a program that was prepared before this one"}},
      .doc = "Carries out a prepared program, as if its instructions stood here: it fuses with "
             "what is around it. The operands are its arguments, none if it has no parameters, "
             "and the results are its outputs. What it writes in place of its parameters is "
             "written in the operands. The program is bound when the one around it is prepared "
             "or run: to replace or forget it later changes nothing."});
}

}  // namespace outrigger::ops
