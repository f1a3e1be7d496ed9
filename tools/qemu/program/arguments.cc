#include "arguments.h"

#include <charconv>
#include <stdexcept>
#include <string_view>

namespace intattn::count {
namespace {

constexpr std::size_t max_heads = 65536, max_head_dim = 1024;

[[noreturn]] void reject(std::string_view flag, const std::string& expected, std::string_view received) {
  throw std::invalid_argument(std::string(flag) + ": expected " + expected + ", received '" + std::string(received) +
                              "'");
}

std::size_t number(std::string_view flag, std::string_view text, std::size_t least, std::size_t most) {
  std::size_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc() || rest != end || value < least || value > most)
    reject(flag, "an integer of " + std::to_string(least) + " ... " + std::to_string(most), text);
  return value;
}

std::vector<std::size_t> numbers(std::string_view flag, std::string_view text, std::size_t least, std::size_t most) {
  std::vector<std::size_t> values;
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    values.push_back(number(flag, rest.substr(0, comma), least, most));
    if (comma == std::string_view::npos)
      return values;
    rest.remove_prefix(comma + 1);
  }
}

/// The position of `text` among choices separated by blanks.
int choice(std::string_view flag, std::string_view text, std::string_view choices) {
  int position = 0;
  for (std::string_view rest = choices;; ++position) {
    const std::size_t blank = rest.find(' ');
    if (rest.substr(0, blank) == text)
      return position;
    if (blank == std::string_view::npos)
      reject(flag, "one of " + std::string(choices), text);
    rest.remove_prefix(blank + 1);
  }
}

InstructionSet available_isa(const std::string& name) {
  InstructionSet isa;
  std::size_t count = 0;
  const InstructionSetInfo* sets = instruction_sets(&count);
  if (!find_instruction_set(name.c_str(), &isa)) {
    std::string known;
    for (std::size_t i = 0; i < count; ++i)
      known += (i ? " " : "") + std::string(sets[i].name);
    reject("--isa", "one of " + known, name);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (sets[i].id != isa || sets[i].available)
      continue;
    reject("--isa", sets[i].compiled ? "a CPU with " + std::string(sets[i].features) : "what is part of this build",
           name);
  }
  return isa;
}

} // namespace

const char* const usage =
    "count [--list] [--engine native|acl] [--isa NAME] [--pipe 0|1|2|3] [--preset paper|precise|precise-1|fast|"
    "compact|finest] [--L KEYS,...] [--queries N] [--d N] [--heads N] [--causal] [--input-type float32|int8]";

bool in_blocks(const Arguments& arguments) {
  return arguments.pipeline == Pipeline::integer && arguments.preset != "paper" && arguments.preset != "precise-1";
}

Arguments parse(int argc, const char* const* argv) {
  Arguments arguments;
  bool isa_given = false, preset_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--list" || flag == "--causal") {
      (flag == "--list" ? arguments.list : arguments.causal) = true;
      continue;
    }
    if (flag != "--engine" && flag != "--isa" && flag != "--pipe" && flag != "--preset" && flag != "--L" &&
        flag != "--queries" && flag != "--d" && flag != "--heads" && flag != "--input-type")
      throw std::invalid_argument(flag + ": no such argument; " + usage);
    if (i + 1 == argc)
      throw std::invalid_argument(flag + ": expected a value, received nothing");
    const std::string value = argv[++i];
    if (flag == "--engine") {
      choice(flag, value, "native acl");
      arguments.engine = value;
    } else if (flag == "--isa") {
      isa_given = true;
      arguments.isa = available_isa(value);
    } else if (flag == "--pipe") {
      arguments.pipeline = static_cast<Pipeline>(number(flag, value, 0, 3));
    } else if (flag == "--preset") {
      preset_given = true;
      choice(flag, value, "paper precise precise-1 fast compact finest");
      arguments.preset = value;
    } else if (flag == "--L") {
      arguments.key_lengths = numbers(flag, value, 1, 1 << 18);
    } else if (flag == "--queries") {
      arguments.query_length = number(flag, value, 1, 1 << 18);
    } else if (flag == "--d") {
      arguments.head_dim = std::uint32_t(number(flag, value, 1, max_head_dim));
    } else if (flag == "--heads") {
      arguments.heads = std::uint32_t(number(flag, value, 1, max_heads));
    } else {
      arguments.input_type = choice(flag, value, "float32 int8") == 0 ? ElementType::float32 : ElementType::int8;
    }
  }
  const bool quantized = arguments.pipeline == Pipeline::int8 || arguments.pipeline == Pipeline::integer;
  if (arguments.input_type == ElementType::int8 && !quantized)
    reject("--input-type", "float32 with --pipe 0 and 1", "int8");
  if (preset_given && !quantized)
    reject("--preset", "--pipe 2 or 3 beside it", arguments.preset);
  if (arguments.pipeline == Pipeline::int8)
    choice("--preset", arguments.preset, "paper precise");
  if (arguments.engine != "native" && preset_given && in_blocks(arguments))
    reject("--preset", "paper or precise-1 with --engine " + arguments.engine, arguments.preset);
  if (arguments.engine != "native" && isa_given)
    reject("--isa", "--engine native beside it", name_of(arguments.isa));
  if (!isa_given)
    arguments.isa = best_instruction_set();
  return arguments;
}

} // namespace intattn::count
