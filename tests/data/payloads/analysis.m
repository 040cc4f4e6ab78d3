how = argv(){1};
for step = 1:5, printf("iteration %d residual %g\n", step, 1 / step); end
switch how
  case "name", x = stepsize * 2;
  case "error", error("solver: unknown method 'rk5', expected rk2 or rk4");
  case "shape", a = ones(2, 3) * ones(2, 3);
  case "file", load("mesh/grid.mat");
  case "memory", a = ones(1e9, 1e9);
  case "index", a = [1 2 3]; a(7)
  case "exit", exit(3);
end
