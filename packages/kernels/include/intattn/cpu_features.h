#pragma once

#include <string>
#include <vector>

namespace intattn {

/// Features of this CPU that code of this project asks for and the operating system supports, named as Linux names them
/// in /proc/cpuinfo (macOS: asimddp for FEAT_DotProd and so on).
const std::vector<std::string>& cpu_features();

bool cpu_has(const std::string& feature);

} // namespace intattn
