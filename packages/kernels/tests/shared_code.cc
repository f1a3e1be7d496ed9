// What no file for a newer CPU may have: an inline function that the compiler emits for the whole program.
namespace intattn {

inline int shared(int x) {
  static int sum = 0;
  return sum += x;
}

struct Kernels {
  int (*run)(int);
};

const Kernels* shared_code_kernels() {
  static const Kernels kernels{shared};
  return &kernels;
}

} // namespace intattn
