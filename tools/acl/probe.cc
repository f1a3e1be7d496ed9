// Refers to everything the engine uses: it links only when the operator set of the build is complete.
#include "arm_compute/runtime/NEON/functions/NECast.h"
#include "arm_compute/runtime/NEON/functions/NEDequantizationLayer.h"
#include "arm_compute/runtime/NEON/functions/NEGEMM.h"
#include "arm_compute/runtime/NEON/functions/NEGEMMLowpMatrixMultiplyCore.h"
#include "arm_compute/runtime/NEON/functions/NEIndexSoftmaxLayer.h"
#include "arm_compute/runtime/NEON/functions/NEPermute.h"
#include "arm_compute/runtime/NEON/functions/NEQuantizationLayer.h"
#include "arm_compute/runtime/NEON/functions/NESoftmaxLayer.h"
#include "arm_compute/runtime/NEON/functions/NETranspose.h"
#include "arm_compute/runtime/Scheduler.h"
#include "arm_compute/runtime/Tensor.h"

using namespace arm_compute;

int main() {
  Tensor a, b, c;
  NECast().configure(&a, &b, ConvertPolicy::SATURATE);
  NEDequantizationLayer().configure(&a, &b);
  NEGEMM().configure(&a, &b, nullptr, &c, 1.F, 0.F);
  NEGEMMLowpMatrixMultiplyCore().configure(&a, &b, nullptr, &c);
  NEIndexSoftmaxLayer().configure(&a, &b, IndexSoftmaxInfo());
  NEPermute().configure(&a, &b, PermutationVector(1U, 0U));
  NEQuantizationLayer().configure(&a, &b);
  NESoftmaxLayer().configure(&a, &b);
  NETranspose().configure(&a, &b);
  Scheduler::get().set_num_threads(1);
}
