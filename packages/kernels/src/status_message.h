#pragma once

#include "intattn/instruction_set.h"
#include "intattn/status.h"

namespace intattn {

/// `invalid_argument` with a message as of printf.
__attribute__((format(printf, 1, 2))) StatusMessage invalid(const char* format, ...);

/// With the message that belongs to a status.
StatusMessage ended(Status status);

/// `ok` for an instruction set that is compiled in and runs here.
StatusMessage check_instruction_set(InstructionSet isa);

} // namespace intattn
