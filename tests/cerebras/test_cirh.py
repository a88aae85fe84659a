from pathlib import Path

from modelzoo_mediswift.cerebras.cirh import read_program, summarize

TEXT = """\
module  {
  func @graph(%arg0: tensor<4x8xi1> {tf.aliasing_output = 0 : i64, tf.resource_name = \
"state.a.weight_mask"} loc(unknown), %arg1: tensor<4x8xf32> {cs.max_sparsity = 7.5e-01 : f32, \
cs.sparsity = 7.500000e-01 : f32, tf.resource_name = "state.a.weight"} loc(unknown), \
%arg2: tensor<f32> {tf.resource_name = "state.b"} loc(unknown)) -> (tensor<f32>) {
    %0 = cirh.Mul %arg1, %arg1 : tensor<4x8xf32> loc(#loc1)
    %1 = cirh.MatMul %0, %0 {transpose_b = true} : (tensor<4x8xf16>, tensor<4x8xf16>) -> \
tensor<4x4xf16> loc(#loc2)
    %2 = cirh.DotGeneral %1, %1 : (tensor<4x4xf16>, tensor<4x4xf16>) -> tensor<4x4xf16> loc(#l)
    %3 = cirh.Mul %arg1, %arg1 : tensor<4x8xf32> loc(#loc1)
"""


def test_operations_products_and_sparsity(tmp_path: Path):
    path = tmp_path / "cirh.mlir"
    path.write_text(TEXT)
    program = read_program(path)
    assert program.operations == {"cirh.Mul": 2, "cirh.MatMul": 1, "cirh.DotGeneral": 1}
    assert program.products == {
        ("4x8xf16", "4x8xf16", "4x4xf16"): 1,
        ("4x4xf16", "4x4xf16", "4x4xf16"): 1,
    }
    assert program.sparsity == {"state.a.weight": 0.75}
    assert summarize(path) == "2 matrix products; 1 tensors at sparsity 0.75"
