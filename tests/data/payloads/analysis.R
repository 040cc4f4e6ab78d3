how <- commandArgs(trailingOnly = TRUE)[1]
for (step in 1:8) cat("iteration", step, "log-likelihood", -1000 / step, "\n")
fit <- function() switch(how,
  stop = stop("invalid value of 'method': expected \"ml\" or \"reml\", got \"mle\""),
  object = print(learning_rate * 2),
  package = library(brmsx),
  file = read.csv("data/cohort.csv"),
  subscript = { models <- list(a = 1); models[["b"]][["c"]]; models[[3]] },
  parse = eval(parse(text = "x <- 3 y")),
  memory = print(length(numeric(9e14))),
  quit = quit(save = "no", status = 3),
  condition = stopifnot("all weights must be positive" = all(c(1, -1) > 0)),
  nan = lm.fit(cbind(1, c(1, NaN, 3)), 1:3),
  conform = matrix(1:6, 2) %*% matrix(1:6, 2),
  corrupt = { writeLines("garbage", "state.rds"); readRDS("state.rds") },
  caught = { try(stop("the first start value is infeasible")); cat("finished\n") },
  argument = mean(),
  segfault = { cat("calling compiled code\n"); tools::pskill(Sys.getpid(), 11); Sys.sleep(2) }, # until the signal arrives
  type = "a" + 1,
  full = { f <- file("checkpoints/draws.bin", "wb"); for (i in 1:40) writeBin(numeric(1e5), f); close(f) }
)
invisible(fit())
