#include "status_message.h"

#include <cstdarg>
#include <cstdio>

namespace intattn {

StatusMessage invalid(const char* format, ...) {
  StatusMessage out;
  out.status = Status::invalid_argument;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(out.message, sizeof out.message, format, arguments);
  va_end(arguments);
  return out;
}

StatusMessage ended(Status status) {
  StatusMessage out;
  out.status = status;
  const char* text = "";
  switch (status) {
  case Status::non_finite_query:
    text = "query: expected finite rows below 2^40, and scales in [2^-74, 2^35) or 0";
    break;
  case Status::non_finite_key:
    text = "key: expected finite rows below 2^40 where they are seen, and scales in [2^-74, 2^35) or 0";
    break;
  case Status::non_finite_value:
    text = "value: expected finite rows below 2^40 where they are seen, and scales in [2^-74, 2^35) or 0";
    break;
  case Status::non_finite_bias:
    text = "bias: expected numbers below 2^100, or -infinity";
    break;
  case Status::non_finite_output:
    text = "output: expected magnitudes that its type holds";
    break;
  case Status::out_of_memory:
    text = "expected memory for packed keys and values and for the scores of some rows";
    break;
  default:
    break;
  }
  std::snprintf(out.message, sizeof out.message, "%s", text);
  return out;
}

StatusMessage check_instruction_set(InstructionSet set) {
  std::size_t count = 0;
  const InstructionSetInfo* sets = instruction_sets(&count);
  const auto isa = static_cast<std::size_t>(set);
  if (isa >= count)
    return invalid("isa: expected an instruction set");
  if (!sets[isa].available)
    return invalid("isa: expected an instruction set that %s, received %s",
                   sets[isa].compiled ? "this CPU has" : "is compiled in", sets[isa].name);
  return {};
}

} // namespace intattn
