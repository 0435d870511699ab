defmodule Outrigger.Nx.DoctestTest do
  use ExUnit.Case, async: true
  doctest Nx, except: [:moduledoc]
end

defmodule Outrigger.Nx.LinAlgDoctestTest do
  use ExUnit.Case, async: true
  doctest Nx.LinAlg
end
