defmodule Outrigger.Kernel.ErrorsTest do
  # Each mistake is a compile error with its line and the code to write instead.
  use ExUnit.Case, async: true

  # {head, body, line of the body, text}
  @cases [
    # names
    {"f(x :: s64) :: s64", "y", 1, "y is not bound"},
    {"f(a :: s64[n]) :: s64", "if a[0] > 0, do: x = 1\nx", 2,
     "x is not bound on every way to this line: line 11 binds it in a branch or a loop"},
    {"f(a :: s64[n]) :: s64", "for i <- 1..n, do: x = i\nx", 2, "x is not bound on every way"},
    {"f(a :: s64[n]) :: s64", "for i <- 1..n, do: a[i]\ni", 1, "the value of a[i] is not used"},
    {"f(n :: s64) :: s64", "for i <- 1..n do\ni = i + 1\nend\n0", 2,
     "i is the variable of a loop, which the loop alone binds: use another name"},
    {"f(a :: s64[n])", "n = 2", 1,
     "n is a size of the operands and does not change: use another name"},
    {"f(a :: s64[n])", "a = 2", 1,
     "a is a tensor. a[i] = … writes an element; a variable needs another name"},
    {"f(a :: s64[n])", "b = a", 1, "the tensor a is no value: a[i] is an element"},
    {"f(a :: s64[n][m]) :: s64", "a", 1, "the tensor a is no value: a[i][j] is an element"},
    # tensors
    {"f(a :: s64[n])", "a[0] = 1", 1,
     "a is read only: write a :: mut(…) in the head to write it"},
    {"f(a :: s64[n][m]) :: s64", "a[0]", 1, "a[0] has 1 indices, a has 2: a[i][j]"},
    {"f(x :: s64) :: s64", "x[0]", 1, "x is no tensor of this kernel"},
    {"f(a :: s64[n]) :: s64", "a[1.5]", 1, "an index is an integer, not f64"},
    {"f(a :: mut(s32[n]), x :: s64)", "a[x] = x", 1, "a[x] holds s32, the value is s64: s32(…)"},
    {"f(a :: mut(u8[n]))", "a[0] = 300", 1, "a[0] holds u8, the value is the number 300: u8(…)"},
    {"f(a :: mut(s64[n]))", "a[0] = 0.5", 1, "a[0] holds s64, the value is a float: s64(…)"},
    {"f(a :: mut(u8[n]), x :: u8)", "a[0] = x == 1", 1,
     "a[0] holds u8, the value is a condition: if c, do: 1, else: 0"},
    {"f(a :: s64[n])", "if n > 0 do\nt = local(s64[4])\nend", 2,
     "local stands outside of loops and branches: its memory is there from the beginning"},
    {"f(a :: s64[n])", "t = local(s64[n])", 1,
     "local has one axis of a constant size: local(s64[64]). scratch takes sizes of operands"},
    {"f(a :: s64[n])", "t = scratch(s64[k])", 1,
     "a size of scratch is a number, or a size of the operands ± a number"},
    {"f(a :: s64[n])", "t = local(s64[3000])", 1,
     "local arrays have 24000 bytes; 16384 are the limit: use scratch"},
    {"f(x :: s64) :: s64", "x + local(s64[4])", 1, "local stands directly to the right of ="},
    {"f(a :: s64[n]) :: s64", "size(a, 1)", 1, "size(a, axis): the axis is a number from 0 to 0"},
    # types
    {"f(x :: s64, y :: s64) :: f64", "x / y", 1,
     "/ divides floats: write div(a, b), or f64(a) / b"},
    {"f(x :: f64, y :: f64) :: f64", "div(x, y)", 1,
     "quotient takes integers, not f64: write a / b"},
    {"f(x :: s64) :: f64", "sqrt(x)", 1, "sqrt takes floats: sqrt(f64(…))"},
    {"f(x :: f64) :: f64", "x &&& 1.0", 1, "bitwise_and takes integers, not f64"},
    {"f(x :: u64, y :: s32) :: u64", "x + y", 1,
     "u64 and a type with a sign have no common integer: write s64(…) or u64(…)"},
    {"f(x :: s64) :: s64", "if x, do: 1, else: 2", 1,
     "s64 is no condition: write a comparison, x != 0"},
    {"f(x :: s64) :: s64", "y = if x > 0 and x, do: 1, else: 2\ny", 1,
     "`and` takes conditions, and s64 is none: write x != 0"},
    {"f(x :: s64) :: s64", "x = x > 0\nx", 1,
     "x is s64, the value is a condition: if c, do: 1, else: 0"},
    {"f(x :: s64) :: s64", "s64(x > 0)", 1, "s64(…) takes a number, not a condition"},
    {"f(x :: s32, y :: s64) :: s32", "x = y\nx", 1, "x is s32, the value is s64: s32(…)"},
    {"f(x :: s64) :: s32", "x", 1, "the result is s32, the value is s64: s32(…)"},
    {"f(x :: f64) :: s64", "for i <- 0..x, do: break\n0", 1,
     "the end of a range is s64, the value is f64: s64(…)"},
    # statements
    {"f(x :: s64) :: s64", "x + 1\nx", 1, "the value of x + 1 is not used"},
    {"f(x :: s64) :: s64", "y = x", 1,
     "the kernel gives s64: its last line is a value, or each way through it ends with `return`"},
    {"f(x :: s64) :: s64", "if x > 0, do: 1", 1,
     "the kernel gives s64: its last line is a value"},
    {"f(x :: s64)", "return x", 1, "the kernel has no result, and 1 stand here"},
    {"f(x :: s64) :: {s64, s64}", "return {x, x, x}", 1,
     "the kernel gives s64, s64: 2 values, and 3 stand here"},
    {"f(x :: s64)", "break", 1, "break stands outside of a loop"},
    {"f(a :: s64[n])", "for x <- a, do: break", 1,
     "`for` runs over a range: for i <- 0..(n - 1), and a[i] in the body"},
    {"f(a :: s64[n])", "for i <- 1..n, parallel: true, do: break", 1,
     "`for` of a kernel has no option parallel"},
    {"f(x :: s64) :: s64", "y = if x > 0, do: 1\ny", 1,
     "`if` as a value has a `do` and an `else`"},
    {"f(x :: s64) :: s64", "cond do\nx > 0 -> 1\nend", 1,
     "the last clause of cond is `true -> …`"},
    {"f(x :: s64)", "raise ArgumentError", 1, "raise takes a text and numbers"},
    {"f(x :: s64) :: s64", "1 + (y = 2)", 1, "= is a statement and has no value"},
    {"f(x :: s64)", "{a, b} = {x, x, x}", 1, "2 names stand left of = and 3 values right of it"},
    # not in the language
    {"f(x :: s64) :: s64", "case x do\n1 -> 2\nend", 1,
     "`case` is no part of kernels: write `cond`"},
    {"f(x :: s64) :: s64", "if x > 0 && x < 3, do: 1, else: 2", 1,
     "`&&` is no part of kernels: write `and`"},
    {"f(x :: s64) :: s64", "Enum.sort(x)", 1,
     "Enum.sort/1 is no kernel: write a loop, or call it outside of the kernel"},
    {"f(x :: s64) :: s64", "g(x)", 1,
     "g/1 is not known here: a kernel calls kernels that stand before it"},
    {"f(x :: s64) :: s64", "f(x - 1)", 1,
     "f/1 calls itself: write a loop; an array made by local can be its stack"},
    {"f(x :: s64) :: s64", "x + \"text\"", 1,
     "\"text\" is no number: kernels know numbers and tensors"},
    {"f(x :: s64) :: s64", "@missing", 1, "@missing is not set before the kernel"},
    {"f(x :: s64) :: s64", "@table", 1, "@table is a table: @table[i] is one of its numbers"},
    # calls
    {"f(a :: s64[n]) :: s64", "helper(a, 1)", 1, "writes a: write a :: mut(…) in the head"},
    {"f(a :: mut(s32[n])) :: s64", "helper(a, 1)", 1, "takes a tensor of s64, and a has s32"},
    {"f(a :: mut(s64[n][m])) :: s64", "helper(a, 1)", 1,
     "takes a tensor of rank 1, and a has rank 2"},
    {"f(a :: mut(s64[n])) :: s64", "helper(a, 1.5)", 1,
     "the parameter is s64, the value is a float"},
    {"f(a :: mut(s64[n])) :: s64", "two(a, a)\n0", 1, "gets a twice, and writes it"},
    {"f(a :: mut(s64[n])) :: s64", "two(a, a)", 1, "gets a twice, and writes it"},
    # heads
    {"f(x :: c64)", "x", 0, "c64 is not supported in kernels: u8, u16"},
    {"f(x :: bool)", "x", 0, "bool is for variables only: pass a u8 that is 0 or 1"},
    {"f(x :: real)", "x", 0, "real is no type: write one of u8"},
    {"f(x :: mut(s64))", "x", 0, "a mut parameter is a tensor: write x :: mut(s64[n])"},
    {"f(out :: new(s64[n]))", "x", 0,
     "the size n of a new tensor occurs in no parameter before it"},
    {"f(a :: s64[2 * n])", "x", 0, "a size is a name, a number, name ± number or _, not 2 * n"},
    {"f(a :: s64[n]) :: s64[n]", "x", 0,
     "a result is a number: a tensor is a parameter, out :: new(s64[n])"},
    {"f(x :: s64, x :: s64)", "x", 0, "two parameters or sizes have the name x"},
    {"f(x :: t) when t in [:f32, :f64]", "x", 0, "`when` of a kernel is not supported"},
    {"min(x :: s64)", "x", 0, "min is a function or a word of kernels: use another name"},
    {"two(x :: s64, y :: s64)", "x", 0,
     "the kernel two/2 is there already: clauses are `if` or `cond`"}
  ]

  for {{head, body, line, text}, number} <- Enum.with_index(@cases) do
    @tag number: number
    test "#{number}: #{head}: #{inspect(body)}" do
      source = """
      defmodule Outrigger.Kernel.ErrorsTest.M#{unquote(number)} do
        use Outrigger.Kernel
        @table [1, 2, 3]
        defkernelp two(a :: mut(s64[n]), b :: s64[m]), do: a[0] = b[0]

        defkernelp helper(a :: mut(s64[n]), x :: s64) :: s64 do
          a[0] = x
          @table[0]
        end
        defkernel #{unquote(head)} do
      #{unquote(body)}
        end
      end
      """

      error = assert_raise CompileError, fn -> Code.compile_string(source, "lib/my_app.ex") end
      assert error.description =~ unquote(text)
      assert {error.file, error.line} == {"lib/my_app.ex", 10 + unquote(line)}
    end
  end

  test "code beyond a limit" do
    for {head, body, text} <- [
          {"f()", String.duplicate("x = 1\n", 4096) <> "y = 1", nil},
          {"f(" <> Enum.map_join(1..65, ", ", &"x#{&1} :: s64") <> ")", "x = 1",
           "at most 64 parameters"},
          {"f(a :: s64#{String.duplicate("[_]", 17)})", "x = 1", "at most 16 axes"},
          {"f()",
           String.duplicate("if true do\n", 33) <> "x = 1\n" <> String.duplicate("end\n", 33),
           "blocks nest at most 32 deep: move a part into a defkernelp"},
          {"f()", Enum.map_join(1..4097, "\n", &"x#{&1} = 1"),
           "a kernel has at most 4096 variables"},
          {"f(a :: mut(s64[n]))", String.duplicate("a[0] = 1\n", 3000),
           "nodes with its callees; 8192"}
        ] do
      compile = fn ->
        Code.compile_string("""
        defmodule Outrigger.Kernel.ErrorsTest.Limit do
          use Outrigger.Kernel
          defkernel #{head} do
            #{body}
          end
        end
        """)
      end

      if text do
        error = assert_raise CompileError, compile
        assert error.description =~ text
      else
        error = assert_raise CompileError, compile
        assert error.description =~ "nodes"
      end

      :code.purge(Outrigger.Kernel.ErrorsTest.Limit)
      :code.delete(Outrigger.Kernel.ErrorsTest.Limit)
    end
  end
end
